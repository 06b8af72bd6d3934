"use strict";
// The page: an episode that is stepped in time, and what one can do to it.

const byId = (id) => document.getElementById(id);

const TASKS = {
  "CartPole-v1": {
    task: "Keep the pole within 12° and the cart on its track. A reward of 1 for every step; 500 steps are all there are.",
    actions: ["push left", "push right"],
    sees: ["position", "velocity", "angle", "angular velocity"],
  },
  "Pendulum-v1": {
    task: "Swing the rod up and hold it there. The motor is too weak to lift it at once. Every step costs something until it stands still upright; an episode is cut after 200.",
    actions: null,
    sees: ["cos of the angle", "sin of the angle", "angular velocity"],
  },
  "Acrobot-v1": {
    task: "Swing the free end above the line, with a motor at the elbow only. Every step costs 1 until it is there.",
    actions: ["torque −1", "none", "torque +1"],
    sees: ["cos of θ₁", "sin of θ₁", "cos of θ₂", "sin of θ₂", "velocity 1", "velocity 2"],
  },
};
const REST = 1.2; // seconds between two episodes
const PUSH_SHOWN = 0.4; // seconds
const LONGEST_FRAME = 0.1; // seconds; a tab that was hidden does not catch up

const game = {
  name: "CartPole-v1",
  actor: "mode",
  isPaused: window.matchMedia("(prefers-reduced-motion: reduce)").matches,
  episode: null,
  finished: [],
};

function newEpisode() {
  const environment = ENVIRONMENTS[game.name];
  const state = environment.start(Math.random);
  game.episode = { state, before: state, action: null, steps: 0, sum: 0, end: null, pushes: 0, push: 0, pushTime: 0, due: 0, rest: 0 };
}

function choose(name) {
  Object.assign(game, { name, finished: [] });
  newEpisode();
  for (const button of byId("environments").children) button.setAttribute("aria-pressed", button.textContent === name);
  byId("task").textContent = TASKS[name].task;
  byId("scene").setAttribute("aria-label", `${name}, drawn from its state`);
  showFinished();
  show();
}

function nextAction() {
  const { state } = game.episode;
  const environment = ENVIRONMENTS[game.name];
  if (game.actor === "random") return environment.randomAction(Math.random);
  return act(POLICIES[game.name], environment.observe(state), game.actor === "sampled" ? Math.random : null);
}

function stepOnce() {
  const { episode } = game;
  const environment = ENVIRONMENTS[game.name];
  const action = nextAction();
  const { state, reward, terminated } = environment.step(episode.state, action);
  Object.assign(episode, { before: episode.state, state, action, steps: episode.steps + 1, sum: episode.sum + reward });
  if (terminated) finish("terminated");
  else if (episode.steps >= environment.maxSteps) finish("time limit");
}

function finish(end) {
  const { episode } = game;
  episode.end = end;
  const pushed = episode.pushes ? `, pushed ${episode.pushes} ${episode.pushes === 1 ? "time" : "times"}` : "";
  game.finished.unshift(`${shown(episode.sum)} (${end} after ${episode.steps} steps${pushed})`);
  game.finished.length = Math.min(game.finished.length, 4);
  showFinished();
}

function push(direction) {
  const { episode } = game;
  if (episode.end) return;
  episode.state = ENVIRONMENTS[game.name].push(episode.state, direction);
  Object.assign(episode, { before: episode.state, push: direction, pushTime: PUSH_SHOWN, pushes: episode.pushes + 1 });
  show();
}

// ---- time

/** Moves the game on by some seconds. */
function advance(seconds) {
  const { episode } = game;
  episode.pushTime -= seconds;
  if (episode.end) {
    episode.rest += seconds;
    if (episode.rest > REST) newEpisode();
    return;
  }
  episode.due += seconds * ENVIRONMENTS[game.name].stepsPerSecond;
  while (episode.due >= 1 && !episode.end) {
    episode.due -= 1;
    stepOnce();
  }
}

let last = null;

function frame(now) {
  const seconds = last === null ? 0 : Math.min(LONGEST_FRAME, (now - last) / 1000);
  last = now;
  if (!game.isPaused) advance(seconds);
  show();
  requestAnimationFrame(frame);
}

// ---- what is shown

/** Returns the state between the last two, as far as the next step is due; angles go the short way. */
function betweenStates({ before, state, due, end }) {
  const share = end ? 1 : Math.min(1, due);
  const angles = new Set(["theta1", "theta2"]);
  const entries = Object.keys(state).map((name) => {
    const change = state[name] - before[name];
    return [name, before[name] + share * (angles.has(name) ? wrapped(change) : change)];
  });
  return Object.fromEntries(entries);
}

function shown(number, digits = Number.isInteger(number) ? 0 : 1) {
  return number.toFixed(digits).replace(/^-(?=0(\.0*)?$)/, "").replace("-", "−");
}

function show() {
  const { episode } = game;
  SCENES[game.name](byId("scene"), betweenStates(episode), episode.action, episode.pushTime > 0 ? episode.push : 0);
  byId("shown-step").textContent = episode.steps;
  byId("shown-return").textContent = shown(episode.sum);
  byId("pause").textContent = game.isPaused ? "Go on" : "Pause";
  for (const id of ["push-left", "push-right"]) byId(id).disabled = episode.end !== null;
  const observation = ENVIRONMENTS[game.name].observe(episode.state);
  showRows(byId("sees"), TASKS[game.name].sees, observation.map((x) => ({ text: shown(x, 2) })));
  showSaid(outputsOf(POLICIES[game.name], observation));
}

/** Shows what the policy puts out: probabilities of discrete actions, or the mean of a real one. */
function showSaid(outputs) {
  const names = TASKS[game.name].actions;
  if (names === null) {
    const mean = clipped(outputs[0], -2, 2);
    const bar = { left: 50 + Math.min(0, mean) * 25, width: Math.abs(mean) * 25 };
    return showRows(byId("says"), ["torque"], [{ text: shown(mean, 2), bar }]);
  }
  const probabilities = softmax(outputs);
  const best = probabilities.indexOf(Math.max(...probabilities));
  const rows = probabilities.map((p, i) => ({ text: `${(100 * p).toFixed(0)}%`, bar: { left: 0, width: 100 * p }, taken: i === best }));
  showRows(byId("says"), names, rows);
}

/** Fills a table with a row for each name: its text and, where there is one, its bar in percent of the track. */
function showRows(table, names, rows) {
  const body = table.tBodies[0];
  while (body.rows.length > names.length) body.deleteRow(-1);
  names.forEach((name, index) => {
    const { text, bar, taken } = rows[index];
    const row = body.rows[index] ?? body.appendChild(emptyRow());
    const [header, track, number] = row.children;
    header.textContent = name;
    number.textContent = text;
    row.className = taken ? "taken" : "";
    track.hidden = bar === undefined;
    if (bar) Object.assign(track.firstChild.firstChild.style, { left: `${bar.left}%`, width: `${bar.width}%` });
  });
}

function emptyRow() {
  const row = document.createElement("tr");
  row.innerHTML = '<th scope="row"></th><td class="wide"><span class="track"><span></span></span></td><td></td>';
  return row;
}

function showFinished() {
  byId("episodes").textContent = game.finished.length ? `Returns: ${game.finished.join("; ")}.` : "The first is under way.";
}

// ---- controls

for (const name of Object.keys(TASKS)) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", () => choose(name));
  byId("environments").append(button);
}
byId("push-left").addEventListener("click", () => push(-1));
byId("push-right").addEventListener("click", () => push(1));
byId("pause").addEventListener("click", () => (game.isPaused = !game.isPaused));
byId("restart").addEventListener("click", newEpisode);
byId("actor").addEventListener("change", (event) => {
  game.actor = event.target.value;
  newEpisode();
});

document.addEventListener("keydown", (event) => {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!direction || event.target.closest("select, input, pre")) return;
  event.preventDefault();
  push(direction);
});

byId("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  try {
    addOwn(JSON.parse(await file.text()));
    byId("file-message").textContent = `${file.name} plays.`;
  } catch (error) {
    byId("file-message").textContent = `${file.name} cannot be used: ${error.message}`;
  }
  event.target.value = "";
});

/** Plays a policy of the user's own, where this page has its environment and it fits that. */
function addOwn(values) {
  const policy = readPolicy(values);
  const name = policy.environment;
  if (!(name in TASKS)) throw new Error(`it is for ${name}; here are ${Object.keys(TASKS).join(", ")}`);
  const ours = POLICIES[name];
  const sizes = ({ layers, discrete }) => `${layers[0].kernel.length} ${layers.at(-1).bias.length} ${discrete}`;
  if (sizes(policy) !== sizes(ours)) throw new Error(`its observations or actions are not those of ${name}`);
  POLICIES[name] = policy;
  choose(name);
}

choose(game.name);
requestAnimationFrame(frame);
