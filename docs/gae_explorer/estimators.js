"use strict";
// Advantages as purejaxrl_gae.kernels computes them, for one recording of T steps; tests compare the two.
// A recording has arrays of length T: rewards r_t, values V(s_t), nextValues V(true successor of s_t, before any reset),
// terminated (no value beyond) and truncated (a time limit: the value stands, the trace is cut).

/** Returns the recording of an episode of the page: its first `length` steps. */
function recordingOf(episode) {
  const steps = Array.from({ length: episode.length }, (_, t) => t);
  return {
    rewards: steps.map((t) => episode.rewards[t]),
    values: steps.map((t) => episode.values[t]),
    nextValues: steps.map((t) => (episode.ends[t] === "truncated" ? episode.finalValues[t] : episode.values[t + 1])),
    terminated: steps.map((t) => episode.ends[t] === "terminated"),
    truncated: steps.map((t) => episode.ends[t] === "truncated"),
  };
}

/** Returns deltas, advantages and targets (lambda-returns), each of length T, of GAE(gamma, lambda). */
function gae({ rewards, values, nextValues, terminated, truncated }, gamma, lambda) {
  const deltas = [], advantages = [], targets = [];
  let nextAdvantage = 0;
  for (let t = rewards.length - 1; t >= 0; t--) {
    deltas[t] = rewards[t] + gamma * (terminated[t] ? 0 : nextValues[t]) - values[t];
    advantages[t] = deltas[t] + gamma * lambda * (terminated[t] || truncated[t] ? 0 : nextAdvantage);
    targets[t] = advantages[t] + values[t];
    nextAdvantage = advantages[t];
  }
  return { deltas, advantages, targets };
}

/** Returns `gae` of a recording whose time limits are taken for terminations, which is wrong. */
function timeLimitAsTermination(recording, gamma, lambda) {
  const terminated = recording.terminated.map((ended, t) => ended || recording.truncated[t]);
  return gae({ ...recording, terminated }, gamma, lambda);
}

/** Returns `gae` of a recording whose trace runs past time limits into the next episode, which is wrong. */
function traceNotCut(recording, gamma, lambda) {
  return gae({ ...recording, truncated: recording.truncated.map(() => false) }, gamma, lambda);
}

/**
 * Returns what the advantage of step t is the mean of: `{k, weight, advantage}` of each k-step estimator.
 * The last, k = K, reaches the end of the episode or of the recording, where all longer ones stop too; so its weight is
 * that of all of them, lambda^(K-1).
 */
function kStepEstimators(recording, t, gamma, lambda) {
  const { deltas } = gae(recording, gamma, lambda);
  const estimators = [];
  let advantage = 0;
  for (let k = 1; t + k <= deltas.length; k++) {
    const step = t + k - 1;
    advantage += gamma ** (k - 1) * deltas[step];
    const isLast = step === deltas.length - 1 || recording.terminated[step] || recording.truncated[step];
    estimators.push({ k, weight: (isLast ? 1 : 1 - lambda) * lambda ** (k - 1), advantage });
    if (isLast) break;
  }
  return estimators;
}
