"use strict";
// Episodes of ten steps to start from. `values` has eleven: the last is V of the state behind step 9.

const STEPS = 10;

/** Returns an episode in which nothing ends, changed by what is given. */
function episodeWith(changes) {
  return {
    rewards: Array(STEPS).fill(0),
    values: Array(STEPS + 1).fill(0),
    finalValues: Array(STEPS).fill(0), // V of the observation a time limit cut off at, where there is one
    ends: Array(STEPS).fill("none"),
    length: STEPS,
    gamma: 0.99,
    lambda: 0.95,
    ...changes,
  };
}

/** Returns ten entries: those given, then `rest`. */
function padded(entries, rest, length = STEPS) {
  return Array.from({ length }, (_, t) => (t in entries ? entries[t] : rest));
}

const PRESETS = {
  one: {
    title: "One time limit",
    about:
      "The case that tells the treatments apart: four rewards of 1, and a time limit after step 1, where V of the final " +
      "observation is 3.5. Correct: A = 0.3973, 0.4650, −0.0294, −0.0100.",
    episode: () =>
      episodeWith({
        rewards: padded([1, 1, 1, 1], 0),
        values: padded([5, 4, 3, 2, 1], 0, STEPS + 1),
        finalValues: padded([0, 3.5], 0),
        ends: padded(["none", "truncated"], "none"),
        length: 4,
      }),
  },
  endless: {
    title: "Endless task",
    about:
      "A reward of 1 for ever, cut by a time limit every five steps. V = 1 / (1 − γ) = 10 is exact, so every advantage is 0. " +
      "Who takes the limit for an end tells the agent that its last steps were worth up to 9 less.",
    episode: () =>
      episodeWith({
        rewards: Array(STEPS).fill(1),
        values: Array(STEPS + 1).fill(10),
        finalValues: padded({ 4: 10, 9: 10 }, 0),
        ends: padded({ 4: "truncated", 9: "truncated" }, "none"),
        gamma: 0.9,
      }),
  },
  goal: {
    title: "Late reward",
    about:
      "Nothing until the last step, where a goal is reached, and V that knows nothing yet. Move λ: with 0 only the last step " +
      "is praised; with 1 all are, each less by γ. That is credit over time.",
    episode: () =>
      episodeWith({ rewards: padded({ 9: 10 }, 0), ends: padded({ 9: "terminated" }, "none"), gamma: 0.9, lambda: 0.8 }),
  },
  leak: {
    title: "Lucky next episode",
    about:
      "The first episode goes as expected and is cut by a time limit after step 4. The second finds a reward that V did not " +
      "expect. Without a cut trace, the first episode's actions are praised for it.",
    episode: () =>
      episodeWith({
        rewards: padded({ 7: 8 }, 1),
        values: Array(STEPS + 1).fill(5),
        finalValues: padded({ 4: 5 }, 0),
        ends: padded({ 4: "truncated" }, "none"),
        gamma: 0.8,
        lambda: 0.95,
      }),
  },
  all: {
    title: "Every end",
    about: "Terminated after step 2, cut by a time limit after step 5; the rollout ends after step 8, and V of the next state stands for the rest.",
    episode: () =>
      episodeWith({
        rewards: [1, 0.5, -2, 1, 1, 2, 0, 1, -1, 0],
        values: [2, 1, 0.5, 3, 2.5, 2, 1, 1.5, 2, 2.5, 2],
        finalValues: padded({ 5: 3 }, 0),
        ends: padded({ 2: "terminated", 5: "truncated" }, "none"),
        length: 9,
      }),
  },
};
