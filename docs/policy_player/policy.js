"use strict";
// Acts from a policy that `python -m purejaxrl_gae.export` wrote as JSON; the arithmetic is that of NumpyPolicy.

const ACTIVATIONS = {
  tanh: Math.tanh,
  relu: (x) => Math.max(x, 0),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
};

/**
 * Returns a policy from the object its JSON holds: numbers rounded to float32, all parts checked.
 * Throws an Error in one line where it is not a policy.
 */
function readPolicy(values) {
  if (values === null || typeof values !== "object" || !Array.isArray(values.layers)) throw new Error("it is no policy");
  if (values.format !== 1) throw new Error(`it is of format ${values.format}; this page reads format 1`);
  if (!(values.activation in ACTIVATIONS)) throw new Error(`activation is ${values.activation}, which is not known`);
  const policy = { ...values };
  for (const name of ["mean", "deviation", "log_std", "low", "high"]) policy[name] = float32(values[name]);
  policy.layers = values.layers.map(({ kernel, bias, activated }) => {
    return { kernel: kernel.map(float32), bias: float32(bias), activated };
  });
  let width = values.observation_shape.reduce((product, size) => product * size, 1);
  for (const { kernel, bias } of policy.layers) {
    const fits = kernel.length === width && kernel.every((row) => row.length === bias.length);
    const finite = [bias, ...kernel].every((row) => row.every(Number.isFinite));
    if (!fits || !finite) throw new Error("its layers do not fit together");
    width = bias.length;
  }
  return policy;
}

function float32(numbers) {
  return numbers === null ? null : numbers.map(Math.fround);
}

/** Returns logits `[n]` or means `[A]` of one observation. */
function outputsOf(policy, observation) {
  let features = observation;
  if (policy.mean !== null) {
    features = observation.map((x, i) => {
      return Math.min(policy.clip, Math.max(-policy.clip, (x - policy.mean[i]) / policy.deviation[i]));
    });
  }
  const activation = ACTIVATIONS[policy.activation];
  for (const { kernel, bias, activated } of policy.layers) {
    const sums = bias.map((offset, j) => features.reduce((sum, x, i) => sum + x * kernel[i][j], 0) + offset);
    features = activated ? sums.map(activation) : sums;
  }
  return features;
}

/** Returns probabilities `[n]` of logits `[n]`. */
function softmax(logits) {
  const largest = Math.max(...logits);
  const exponentials = logits.map((logit) => Math.exp(logit - largest));
  const sum = exponentials.reduce((total, each) => total + each, 0);
  return exponentials.map((each) => each / sum);
}

/** Returns the action for one observation, the most probable or, with `random()` in [0, 1), a sampled one: an index, or `[A]`. */
function act(policy, observation, random = null) {
  const outputs = outputsOf(policy, observation);
  if (policy.discrete) return random === null ? outputs.indexOf(Math.max(...outputs)) : sampled(softmax(outputs), random());
  const noise = outputs.map((_, i) => (random === null ? 0 : Math.exp(policy.log_std[i]) * normal(random)));
  return outputs.map((mean, i) => withinBounds(policy, mean + noise[i], i));
}

/** Returns the first index at which the probabilities up to it exceed a number in [0, 1). */
function sampled(probabilities, number) {
  let sum = 0;
  const index = probabilities.findIndex((each) => (sum += each) > number);
  return index < 0 ? probabilities.length - 1 : index;
}

/** Returns a standard normal number, by Box and Muller. */
function normal(random) {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function withinBounds(policy, output, index) {
  const [low, high] = [policy.low[index], policy.high[index]];
  const clip = (x, least, most) => Math.min(most, Math.max(least, x));
  if (policy.action_bounds === "clip") return clip(output, low, high);
  const withinOne = policy.action_bounds === "tanh" ? Math.tanh(output) : clip(output, -1, 1);
  return clip(low + 0.5 * (withinOne + 1) * (high - low), low, high);
}

const POLICIES = {};

/** Keeps a policy by its environment's name; a policy file that ends in .js calls this. */
function addPolicy(values) {
  POLICIES[values.environment] = readPolicy(values);
}
