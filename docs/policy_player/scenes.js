"use strict";
// Draws states on a canvas, in metres with y upwards; colours are the style sheet's.

/** Returns the colour that the style sheet calls `name`. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Clears the canvas and sets it up so that `width` metres are as wide as it is, with the origin at `(0.5, originY)` of it. */
function prepared(canvas, width, originY) {
  const pixels = window.devicePixelRatio || 1;
  const size = { width: Math.round(canvas.clientWidth * pixels), height: Math.round(canvas.clientHeight * pixels) };
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  const context = canvas.getContext("2d");
  const scale = canvas.width / width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, -scale, canvas.width / 2, canvas.height * originY);
  context.lineCap = context.lineJoin = "round";
  return context;
}

function line(context, points, width, name, dashes = []) {
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  Object.assign(context, { lineWidth: width, strokeStyle: colour(name) });
  context.setLineDash(dashes);
  context.stroke();
  context.setLineDash([]);
}

function disc(context, [x, y], radius, name) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = colour(name);
  context.fill();
}

/** Draws an arrow along x from `(x, y)`; its length has a sign. */
function arrow(context, x, y, length, size, name) {
  const tip = x + length, back = tip - Math.sign(length) * size;
  line(context, [[x, y], [tip, y]], size / 3, name);
  line(context, [[back, y + size * 0.7], [tip, y], [back, y - size * 0.7]], size / 3, name);
}

/** Draws an arc with a head about the origin; positive torque turns anticlockwise. */
function arrowRound(context, centre, radius, torque, name) {
  const extent = Math.sign(torque) * (0.3 + 1.4 * Math.min(1, Math.abs(torque)));
  const begin = -Math.PI / 2 - extent / 2, end = begin + extent;
  const at = (r, angle) => [centre[0] + r * Math.cos(angle), centre[1] + r * Math.sin(angle)];
  const points = Array.from({ length: 30 }, (_, i) => at(radius, begin + (extent * i) / 29));
  const back = end - Math.sign(torque) * 0.3;
  line(context, points, 0.045, name);
  line(context, [at(radius + 0.11, back), at(radius, end), at(radius - 0.11, back)], 0.045, name);
}

const SCENES = {
  "CartPole-v1": (canvas, { x, theta }, action, push) => {
    const context = prepared(canvas, 5.6, 0.72);
    line(context, [[-X_LIMIT, -0.27], [X_LIMIT, -0.27]], 0.03, "soft");
    for (const end of [-X_LIMIT, X_LIMIT]) line(context, [[end, -0.45], [end, -0.09]], 0.05, "red");
    for (const limit of [-THETA_LIMIT, THETA_LIMIT]) {
      line(context, [[x, 0.05], [x + 1.3 * Math.sin(limit), 0.05 + 1.3 * Math.cos(limit)]], 0.012, "soft", [0.05, 0.06]);
    }
    for (const wheel of [-0.2, 0.2]) disc(context, [x + wheel, -0.19], 0.08, "ink");
    context.fillStyle = colour("ink");
    context.fillRect(x - 0.36, -0.16, 0.72, 0.32);
    line(context, [[x, 0.05], [x + Math.sin(theta), 0.05 + Math.cos(theta)]], 0.11, "orange");
    disc(context, [x, 0.05], 0.04, "paper");
    if (action !== null) arrow(context, x + (action ? 0.45 : -0.45), 0, action ? 0.3 : -0.3, 0.12, "green");
    if (push) arrow(context, x + Math.sin(theta) - push * 0.75, 0.05 + Math.cos(theta), push * 0.6, 0.2, "purple");
  },
  "Pendulum-v1": (canvas, { theta }, action, push) => {
    const context = prepared(canvas, 3.4, 0.5);
    const tip = [-Math.sin(theta), Math.cos(theta)];
    line(context, [[0, 1.2], [0, 1.32]], 0.03, "soft");
    line(context, [[0, 0], tip], 0.13, "blue");
    disc(context, tip, 0.12, "ink");
    disc(context, [0, 0], 0.05, "paper");
    if (action !== null && Math.abs(action[0]) > 0.05) arrowRound(context, [0, 0], 0.35, action[0] / 2, "green");
    if (push) arrow(context, tip[0] - push * 0.65, tip[1], push * 0.5, 0.14, "purple");
  },
  "Acrobot-v1": (canvas, { theta1, theta2 }, action, push) => {
    const context = prepared(canvas, 5.6, 0.5);
    const elbow = [Math.sin(theta1), -Math.cos(theta1)];
    const hand = [elbow[0] + Math.sin(theta1 + theta2), elbow[1] - Math.cos(theta1 + theta2)];
    line(context, [[-2.5, 1], [2.5, 1]], 0.025, "green", [0.1, 0.1]);
    line(context, [[0, 0], elbow], 0.16, "blue");
    line(context, [elbow, hand], 0.16, "orange");
    for (const joint of [[0, 0], elbow]) disc(context, joint, 0.06, "paper");
    if (action !== null && action !== 1) arrowRound(context, elbow, 0.35, (action - 1) / 2, "green");
    if (push) arrow(context, elbow[0] - push * 0.95, elbow[1], push * 0.75, 0.2, "purple");
  },
};
