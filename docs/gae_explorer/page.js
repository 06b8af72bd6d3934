"use strict";
// The page: what is shown of the episode, and what its controls change of it.

const byId = (id) => document.getElementById(id);
const state = { episode: null, preset: null, chosen: 0 };
const steps = Array.from({ length: STEPS }, (_, t) => t);
const charts = { rewards: makeChart(byId("rewards")), values: makeChart(byId("values")), advantages: makeChart(byId("advantages")) };

/** Changes the episode and draws everything anew. */
function change(changes) {
  state.preset = null;
  Object.assign(state.episode, changes);
  draw();
}

function replaced(array, index, entry) {
  return array.map((old, other) => (other === index ? entry : old));
}

function showPreset(name) {
  state.episode = PRESETS[name].episode();
  state.preset = name;
  state.chosen = 0;
  draw();
}

// ---- controls

for (const [name, { title }] of Object.entries(PRESETS)) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.preset = name;
  button.textContent = title;
  button.addEventListener("click", () => showPreset(name));
  byId("presets").append(button);
}

for (const name of ["gamma", "lambda"]) {
  byId(name).addEventListener("input", (event) => change({ [name]: Number(event.target.value) }));
}

byId("step").addEventListener("input", (event) => choose(Number(event.target.value)));

function choose(step) {
  state.chosen = Math.min(step, state.episode.length - 1);
  draw();
}

const drawRewards = makeHandles(charts.rewards, {
  count: STEPS,
  label: (t) => `reward at step ${t}`,
  column: (t) => t,
  get: (t) => state.episode.rewards[t],
  set: (t, number) => change({ rewards: replaced(state.episode.rewards, t, number) }),
  isShown: () => true,
  isDim: (t) => t >= state.episode.length,
  mark: (handle) => svgElement(handle, "rect", { class: "reward", x: -7, y: -4.5, width: 14, height: 9, rx: 2 }),
});

const drawValues = makeHandles(charts.values, {
  count: STEPS + 1,
  label: (t) => `value of state ${t}`,
  column: (t) => t,
  get: (t) => state.episode.values[t],
  set: (t, number) => change({ values: replaced(state.episode.values, t, number) }),
  isShown: () => true,
  isDim: (t) => t > state.episode.length || (t === state.episode.length && state.episode.ends[t - 1] !== "none"),
  mark: (handle) => svgElement(handle, "circle", { class: "value", r: 6 }),
});

const drawFinalValues = makeHandles(charts.values, {
  count: STEPS,
  label: (t) => `value of the final observation of step ${t}`,
  column: (t) => t + 0.4,
  get: (t) => state.episode.finalValues[t],
  set: (t, number) => change({ finalValues: replaced(state.episode.finalValues, t, number) }),
  isShown: (t) => state.episode.ends[t] === "truncated",
  isDim: (t) => t >= state.episode.length,
  mark: (handle) => svgElement(handle, "circle", { class: "final", r: 5 }),
});

// ---- ends of episodes

const KINDS = { terminated: "terminated", truncated: "time limit", rollout: "rollout ends" };

function isPressed(kind, t) {
  return kind === "rollout" ? state.episode.length === t + 1 : state.episode.ends[t] === kind;
}

function press(kind, t) {
  const { ends, finalValues, values } = state.episode;
  if (kind === "rollout") return change({ length: isPressed(kind, t) ? STEPS : t + 1 });
  const end = isPressed(kind, t) ? "none" : kind;
  // What was the next state's value becomes the final observation's; both can be moved from there.
  const isNew = end === "truncated";
  change({ ends: replaced(ends, t, end), finalValues: isNew ? replaced(finalValues, t, values[t + 1]) : finalValues });
}

/** Makes the rows of buttons; returns a function that shows which are pressed. */
function makeEnds(parent) {
  const header = rowOf(parent, "header", "step t");
  for (const t of [...steps, STEPS]) cell(header, "div", "number").textContent = t;
  const buttons = [];
  for (const [kind, name] of Object.entries(KINDS)) {
    const row = rowOf(parent, kind, name);
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", name);
    for (const t of steps) {
      const button = cell(row, "button", "");
      button.type = "button";
      button.setAttribute("aria-label", `${name} after step ${t}`);
      button.addEventListener("click", () => press(kind, t));
      buttons.push({ button, kind, t });
    }
  }
  return () => buttons.forEach(({ button, kind, t }) => button.setAttribute("aria-pressed", isPressed(kind, t)));
}

function rowOf(parent, kind, name) {
  const row = cell(parent, "div", `row ${kind}`);
  cell(row, "div", "name").textContent = name;
  return row;
}

function cell(parent, tag, className) {
  const created = document.createElement(tag);
  if (className) created.className = className;
  parent.append(created);
  return created;
}

const drawEnds = makeEnds(byId("ends"));

// ---- drawing

function draw() {
  const { episode } = state;
  state.chosen = Math.min(state.chosen, episode.length - 1);
  const recording = recordingOf(episode);
  const given = [recording, episode.gamma, episode.lambda];
  const results = { correct: gae(...given), terminal: timeLimitAsTermination(...given), uncut: traceNotCut(...given) };
  drawControls();
  drawEpisode();
  drawAdvantages(results);
  drawNumbers(recording, results);
  drawWeights(kStepEstimators(recording, state.chosen, episode.gamma, episode.lambda), results.correct.advantages);
}

function drawControls() {
  const { episode, preset } = state;
  for (const button of byId("presets").children) button.setAttribute("aria-pressed", button.dataset.preset === preset);
  byId("about").textContent = preset ? PRESETS[preset].about : "An episode of your own.";
  for (const name of ["gamma", "lambda"]) {
    byId(name).value = episode[name];
    byId(`${name}-shown`).textContent = episode[name].toFixed(2);
  }
  byId("step").max = episode.length - 1;
  byId("step").value = state.chosen;
  byId("step-shown").textContent = state.chosen;
  drawEnds();
}

function drawEpisode() {
  const { episode } = state;
  const { rewards, values } = charts;
  drawBackground(rewards, episode.rewards, episode);
  for (const t of steps) {
    const path = `M${rewards.x(t)} ${rewards.y(0)} V${rewards.y(episode.rewards[t])}`;
    svgElement(rewards.back, "path", { class: "stem", d: path, opacity: t < episode.length ? 1 : 0.35 });
  }
  drawRewards();
  const finals = steps.filter((t) => episode.ends[t] === "truncated").map((t) => episode.finalValues[t]);
  drawBackground(values, [...episode.values, ...finals], episode);
  steps.filter((t) => t < episode.length).forEach((t) => drawSuccessor(values, episode, t));
  drawValues();
  drawFinalValues();
}

/** Draws the line from V(s_t) to what lies behind it: the next value, that of the final observation, or 0. */
function drawSuccessor(chart, episode, t) {
  const [column, number] = {
    none: [t + 1, episode.values[t + 1]],
    truncated: [t + 0.4, episode.finalValues[t]],
    terminated: [t + 0.5, 0],
  }[episode.ends[t]];
  const path = `M${chart.x(t)} ${chart.y(episode.values[t])} L${chart.x(column)} ${chart.y(number)}`;
  svgElement(chart.back, "path", { class: "path", d: path });
}

function drawAdvantages({ correct, terminal, uncut }) {
  const chart = charts.advantages;
  const all = [correct, terminal, uncut].flatMap((each) => each.advantages);
  drawBackground(chart, all, state.episode);
  chart.front.replaceChildren();
  const width = chart.columnWidth();
  const column = { y: 0, width, height: chart.height };
  svgElement(chart.back, "rect", { ...column, class: "chosen", x: chart.x(state.chosen) - width / 2 });
  chart.back.prepend(chart.back.lastChild);
  correct.advantages.forEach((advantage, t) => {
    const ends = [chart.y(advantage), chart.y(0)].sort((one, other) => one - other);
    const bar = { x: chart.x(t) - 0.22 * width, y: ends[0], width: 0.44 * width, height: Math.max(1, ends[1] - ends[0]) };
    svgElement(chart.front, "rect", { ...bar, class: "correct" });
    if (differs(terminal, correct, t)) mark(chart, "terminal", t, terminal.advantages[t], "M0 -7 L7 6 L-7 6 Z");
    if (differs(uncut, correct, t)) mark(chart, "uncut", t, uncut.advantages[t], "M0 -7 L7 0 L0 7 L-7 0 Z");
    const hit = svgElement(chart.front, "rect", { ...column, x: chart.x(t) - width / 2, fill: "transparent" });
    hit.addEventListener("click", () => choose(t));
  });
}

function mark(chart, kind, t, number, path) {
  svgElement(chart.front, "path", { class: kind, d: path, transform: `translate(${chart.x(t)} ${chart.y(number)})` });
}

function differs(wrong, correct, t) {
  return Math.abs(wrong.advantages[t] - correct.advantages[t]) > 1e-9;
}

function drawNumbers(recording, { correct, terminal, uncut }) {
  byId("numbers").replaceChildren();
  recording.rewards.forEach((reward, t) => {
    const row = cell(byId("numbers"), "tr", "");
    row.classList.toggle("is-chosen", t === state.chosen);
    row.classList.toggle("is-end", recording.terminated[t] || recording.truncated[t]);
    row.addEventListener("click", () => choose(t));
    const header = cell(row, "th", "");
    header.scope = "row";
    header.textContent = t;
    const next = recording.terminated[t] ? 0 : recording.nextValues[t];
    for (const number of [reward, recording.values[t], next]) numberCell(row, number, "", 2);
    for (const name of ["deltas", "advantages", "targets"]) numberCell(row, correct[name][t], "");
    numberCell(row, terminal.advantages[t], differs(terminal, correct, t) ? "terminal-differs" : "same");
    numberCell(row, uncut.advantages[t], differs(uncut, correct, t) ? "uncut-differs" : "same");
  });
  const hasLimit = recording.truncated.some(Boolean);
  const errors = `Time limit taken for termination: ${errorOf(terminal, correct)}. Trace not cut: ${errorOf(uncut, correct)}.`;
  byId("difference").textContent = hasLimit ? errors : "There is no time limit in this recording, so all three agree.";
}

function numberCell(row, number, className, digits = 4) {
  const created = cell(row, "td", className);
  created.textContent = shown(number, digits);
  created.dataset.number = number;
}

/** Says in words how far advantages are from the correct ones. */
function errorOf(wrong, correct) {
  const errors = correct.advantages.map((advantage, t) => wrong.advantages[t] - advantage);
  const wrongSteps = steps.filter((t) => t in errors && differs(wrong, correct, t));
  if (!wrongSteps.length) return "no difference here";
  const worst = wrongSteps.reduce((most, t) => (Math.abs(errors[t]) > Math.abs(errors[most]) ? t : most));
  const count = `${wrongSteps.length} of ${errors.length} advantages ${wrongSteps.length === 1 ? "is" : "are"} wrong`;
  return `${count}, step ${worst}'s by ${shown(errors[worst])}`;
}

function drawWeights(estimators, advantages) {
  const body = byId("weights").tBodies[0];
  body.replaceChildren();
  for (const { k, weight, advantage } of estimators) {
    const row = cell(body, "tr", "");
    cell(row, "td", "").textContent = k;
    const wide = cell(row, "td", "wide");
    cell(wide, "span", "bar").style.width = `${weight * 65}%`;
    wide.append(shown(weight, 3));
    numberCell(row, advantage, "");
    numberCell(row, weight * advantage, "");
  }
  const footer = byId("weights").tFoot;
  footer.replaceChildren();
  const sum = cell(footer, "tr", "");
  cell(sum, "th", "").textContent = "sum";
  cell(sum, "td", "wide").textContent = shown(estimators.reduce((total, each) => total + each.weight, 0), 3);
  cell(sum, "td", "").innerHTML = `<i>A</i><sub>${state.chosen}</sub> =`;
  numberCell(sum, advantages[state.chosen], "");
}

new ResizeObserver(draw).observe(document.querySelector("main"));
window.addEventListener("resize", draw);
showPreset("one");
