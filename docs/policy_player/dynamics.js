"use strict";
// Classic control as gymnax has it, in float64. Each environment has
//   start(random): a state, from `random()` in [0, 1);
//   observe(state): what the policy sees;
//   step(state, action): `{state, reward, terminated}`; the action is an index, or for Pendulum-v1 `[torque]`;
//   push(state, direction): the state after a push to the left (-1) or the right (1), which training never had;
//   randomAction(random): any action;
//   maxSteps: the time limit; stepsPerSecond: how fast it is shown.

const clipped = (x, low, high) => Math.min(high, Math.max(low, x));

/** Returns an angle in [-pi, pi), an exact remainder first as Python's and JAX's %. */
function wrapped(angle) {
  const turn = 2 * Math.PI;
  const rest = (angle + Math.PI) % turn;
  return (rest < 0 ? rest + turn : rest) - Math.PI;
}

const uniform = (random, low, high) => low + (high - low) * random();

// ---- CartPole-v1: a pole of half length 0.5 and mass 0.1 on a cart of mass 1, pushed with 10 N to either side

const X_LIMIT = 2.4, THETA_LIMIT = (12 * 2 * Math.PI) / 360;

const hasFallen = ({ x, theta }) => Math.abs(x) > X_LIMIT || Math.abs(theta) > THETA_LIMIT;

function cartPoleStep(before, action) {
  const { x, xDot, theta, thetaDot } = before;
  const force = action === 1 ? 10 : -10;
  const [cos, sin] = [Math.cos(theta), Math.sin(theta)];
  const push = (force + 0.05 * thetaDot ** 2 * sin) / 1.1;
  const thetaAcceleration = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - (0.1 * cos ** 2) / 1.1));
  const xAcceleration = push - (0.05 * thetaAcceleration * cos) / 1.1;
  const state = {
    x: x + 0.02 * xDot,
    xDot: xDot + 0.02 * xAcceleration,
    theta: theta + 0.02 * thetaDot,
    thetaDot: thetaDot + 0.02 * thetaAcceleration,
  };
  return { state, reward: hasFallen(before) ? 0 : 1, terminated: hasFallen(state) };
}

// ---- Pendulum-v1: a rod of length 1 and mass 1, torque at most 2, theta = 0 upright

function pendulumStep({ theta, thetaDot }, [action]) {
  const torque = clipped(action, -2, 2);
  const reward = -(wrapped(theta) ** 2 + 0.1 * thetaDot ** 2 + 0.001 * torque ** 2);
  const next = clipped(thetaDot + (15 * Math.sin(theta) + 3 * torque) * 0.05, -8, 8);
  return { state: { theta: theta + next * 0.05, thetaDot: next }, reward, terminated: false };
}

// ---- Acrobot-v1: two links of length and mass 1 that hang, torque at the joint between them

const MAX_VELOCITIES = [4 * Math.PI, 9 * Math.PI];

function acrobotStep({ theta1, theta2, velocity1, velocity2 }, action) {
  const next = rungeKutta([theta1, theta2, velocity1, velocity2], action - 1, 0.2);
  const state = {
    theta1: wrapped(next[0]),
    theta2: wrapped(next[1]),
    velocity1: clipped(next[2], -MAX_VELOCITIES[0], MAX_VELOCITIES[0]),
    velocity2: clipped(next[3], -MAX_VELOCITIES[1], MAX_VELOCITIES[1]),
  };
  const terminated = -Math.cos(state.theta1) - Math.cos(state.theta2 + state.theta1) > 1;
  return { state, reward: terminated ? 0 : -1, terminated };
}

/** Returns `[theta1, theta2, velocity1, velocity2]` after one step of the classical Runge-Kutta method. */
function rungeKutta(start, torque, dt) {
  const moved = (slope, time) => start.map((each, i) => each + time * slope[i]);
  const k1 = acrobotSlope(start, torque);
  const k2 = acrobotSlope(moved(k1, dt / 2), torque);
  const k3 = acrobotSlope(moved(k2, dt / 2), torque);
  const k4 = acrobotSlope(moved(k3, dt), torque);
  return start.map((each, i) => each + (dt / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]));
}

/** Returns derivatives by time; masses, lengths and moments of inertia are 1, centres of mass in the middle. */
function acrobotSlope([theta1, theta2, velocity1, velocity2], torque) {
  const g = 9.8;
  const d1 = 0.25 + (1 + 0.25 + Math.cos(theta2)) + 1 + 1;
  const d2 = 0.25 + 0.5 * Math.cos(theta2) + 1;
  const phi2 = 0.5 * g * Math.cos(theta1 + theta2 - Math.PI / 2);
  const phi1 =
    -0.5 * velocity2 ** 2 * Math.sin(theta2) -
    velocity2 * velocity1 * Math.sin(theta2) +
    1.5 * g * Math.cos(theta1 - Math.PI / 2) +
    phi2;
  const acceleration2 =
    (torque + (d2 / d1) * phi1 - 0.5 * velocity1 ** 2 * Math.sin(theta2) - phi2) / (0.25 + 1 - d2 ** 2 / d1);
  return [velocity1, velocity2, -(d2 * acceleration2 + phi1) / d1, acceleration2];
}

const ENVIRONMENTS = {
  "CartPole-v1": {
    start: (random) => {
      const [x, xDot, theta, thetaDot] = Array.from({ length: 4 }, () => uniform(random, -0.05, 0.05));
      return { x, xDot, theta, thetaDot };
    },
    observe: ({ x, xDot, theta, thetaDot }) => [x, xDot, theta, thetaDot],
    step: cartPoleStep,
    push: (state, direction) => ({ ...state, thetaDot: state.thetaDot + 0.6 * direction }),
    maxSteps: 500,
    stepsPerSecond: 50,
    randomAction: (random) => Math.floor(2 * random()),
  },
  "Pendulum-v1": {
    start: (random) => ({ theta: uniform(random, -Math.PI, Math.PI), thetaDot: uniform(random, -1, 1) }),
    observe: ({ theta, thetaDot }) => [Math.cos(theta), Math.sin(theta), thetaDot],
    step: pendulumStep,
    push: (state, direction) => ({ ...state, thetaDot: clipped(state.thetaDot - 4 * direction, -8, 8) }),
    maxSteps: 200,
    stepsPerSecond: 20,
    randomAction: (random) => [uniform(random, -2, 2)],
  },
  "Acrobot-v1": {
    start: (random) => {
      const [theta1, theta2, velocity1, velocity2] = Array.from({ length: 4 }, () => uniform(random, -0.1, 0.1));
      return { theta1, theta2, velocity1, velocity2 };
    },
    observe: ({ theta1, theta2, velocity1, velocity2 }) => [
      ...[Math.cos(theta1), Math.sin(theta1), Math.cos(theta2), Math.sin(theta2)],
      ...[velocity1, velocity2],
    ],
    step: acrobotStep,
    push: (state, direction) => ({
      ...state,
      velocity1: clipped(state.velocity1 + 2 * direction, -MAX_VELOCITIES[0], MAX_VELOCITIES[0]),
    }),
    maxSteps: 500,
    stepsPerSecond: 12,
    randomAction: (random) => Math.floor(3 * random()),
  },
};

/** Plays a whole episode from a state, by `choose(observation)`; returns `{rewards, terminated, state}`. */
function playEpisode(environment, start, choose) {
  const rewards = [];
  let state = start, terminated = false;
  while (rewards.length < environment.maxSteps && !terminated) {
    const next = environment.step(state, choose(environment.observe(state)));
    ({ state, terminated } = next);
    rewards.push(next.reward);
  }
  return { rewards, terminated, state };
}
