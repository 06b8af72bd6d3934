"use strict";
// SVG charts over the steps of the episode: eleven columns, as wide as the buttons below them, behind a gutter.

const COLUMNS = 11;
const MARGIN = 12; // pixels above and below the range

/** Returns a new SVG element in `parent`. */
function svgElement(parent, name, attributes = {}) {
  const created = document.createElementNS("http://www.w3.org/2000/svg", name);
  setAttributes(created, attributes);
  parent.append(created);
  return created;
}

function setAttributes(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) target.setAttribute(name, value);
}

/** Returns a number as text, with a true minus sign and no negative zero. */
function shown(number, digits = 4) {
  const text = number.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** Returns a chart on an `svg` of the page: its layers, its range, and where steps and numbers lie in it. */
function makeChart(svg) {
  const chart = {
    svg,
    back: svgElement(svg, "g", { "aria-hidden": "true" }),
    front: svgElement(svg, "g"),
    grips: [], // all that can be dragged
    low: 0,
    high: 1,
    isFrozen: false, // while a handle is dragged, so that the scale does not run away under it
    height: Number(svg.getAttribute("height")),
  };
  chart.gutter = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--gutter"));
  chart.columnWidth = () => (svg.clientWidth - chart.gutter()) / COLUMNS;
  chart.x = (column) => chart.gutter() + (column + 0.5) * chart.columnWidth();
  chart.y = (number) => MARGIN + ((chart.high - number) / (chart.high - chart.low)) * (chart.height - 2 * MARGIN);
  chart.numberAt = (y) => chart.high - ((y - MARGIN) / (chart.height - 2 * MARGIN)) * (chart.high - chart.low);
  return chart;
}

/** Sets a chart's range so that it holds all numbers and 0, with some room, and draws grid and ends behind them. */
function drawBackground(chart, numbers, episode) {
  if (!chart.isFrozen) {
    chart.low = Math.floor(Math.min(0, ...numbers)) - 1;
    chart.high = Math.ceil(Math.max(0, ...numbers)) + 1;
  }
  chart.back.replaceChildren();
  const { back } = chart;
  const right = chart.svg.clientWidth;
  const edge = (step) => chart.gutter() + (step + 1) * chart.columnWidth();
  const bottom = chart.height;
  const begin = edge(episode.length - 1);
  svgElement(back, "rect", { class: "beyond", x: begin, y: 0, width: Math.max(0, right - begin), height: bottom });
  for (const tick of ticksOf(chart.low, chart.high, chart.height < 150 ? 3 : 5)) {
    const y = chart.y(tick);
    svgElement(back, "line", { class: tick === 0 ? "zero" : "grid", x1: chart.gutter(), x2: right, y1: y, y2: y });
    svgElement(back, "text", { x: chart.gutter() - 6, y: y + 4, "text-anchor": "end" }).textContent = shown(tick, 0);
  }
  for (let step = 0; step < episode.length; step++) {
    const isEnd = episode.ends[step] !== "none";
    const kind = isEnd ? episode.ends[step] : step === episode.length - 1 ? "rollout" : null;
    if (kind) svgElement(back, "path", { class: `end ${kind}`, d: `M${edge(step)} 0 V${bottom}` });
  }
}

/** Returns round numbers within a range, 0 among them, at most about `most`. */
function ticksOf(low, high, most) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => (high - low) / size <= most) ?? 1000;
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick + 0);
  return ticks;
}

/**
 * Makes a row of handles in a chart, which can be dragged up and down and moved by the keyboard.
 *
 * `row` has: count; label(index); get(index); set(index, number); isShown(index); isDim(index); column(index); and
 * mark(handle), which draws one about (0, 0). Returns a function that puts all handles where their numbers are.
 */
function makeHandles(chart, row) {
  const handles = Array.from({ length: row.count }, (_, index) => {
    const handle = svgElement(chart.front, "g", { class: "handle", role: "slider", tabindex: index === 0 ? 0 : -1 });
    handle.setAttribute("aria-orientation", "vertical");
    row.mark(handle);
    svgElement(handle, "circle", { class: "ring", r: 14 });
    handle.addEventListener("pointerdown", (event) => dragNearest(event, chart));
    handle.addEventListener("keydown", (event) => pressed(event, index));
    const x = () => chart.x(row.column(index)), y = () => chart.y(row.get(index));
    chart.grips.push({ handle, x, y, isShown: () => row.isShown(index), set: (number) => row.set(index, number) });
    return handle;
  });

  function pressed(event, index) {
    const neighbour = neighbourOf(index, { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0);
    const up = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key] ?? 0;
    if (neighbour === index && !up) return;
    event.preventDefault();
    if (up) row.set(index, tenths(row.get(index) + up * (event.shiftKey ? 1 : 0.1)));
    if (neighbour === index) return;
    handles.forEach((handle, other) => handle.setAttribute("tabindex", other === neighbour ? 0 : -1));
    handles[neighbour].focus();
  }

  function neighbourOf(index, direction) {
    let next = index + direction;
    while (handles[next] && !row.isShown(next) && direction) next += direction;
    return handles[next] ? next : index;
  }

  return () => {
    const isShown = handles.map((_, index) => row.isShown(index));
    if (!handles.some((handle, index) => isShown[index] && handle.getAttribute("tabindex") === "0")) {
      handles.forEach((handle, index) => handle.setAttribute("tabindex", index === isShown.indexOf(true) ? 0 : -1));
    }
    handles.forEach((handle, index) => {
      const number = row.get(index);
      handle.style.display = isShown[index] ? "" : "none";
      handle.classList.toggle("dim", row.isDim(index));
      setAttributes(handle, {
        transform: `translate(${chart.x(row.column(index))} ${chart.y(number)})`,
        "aria-label": row.label(index),
        "aria-valuemin": chart.low,
        "aria-valuemax": chart.high,
        "aria-valuenow": number,
      });
    });
  };
}

function tenths(number) {
  return Math.round(number * 10) / 10;
}

/** Drags the handle nearest to the pointer: on a phone they lie closer than a finger is wide. */
function dragNearest(event, chart) {
  const { left, top } = chart.svg.getBoundingClientRect();
  const distance = ({ x, y }) => Math.hypot(x() - event.clientX + left, y() - event.clientY + top);
  const shownGrips = chart.grips.filter(({ isShown }) => isShown());
  const { handle, set } = shownGrips.reduce((best, grip) => (distance(grip) < distance(best) ? grip : best));
  drag(event, chart, handle, set);
}

/** Follows the pointer until it is lifted, and gives each number it comes to to `set`. */
function drag(event, chart, handle, set) {
  event.preventDefault();
  handle.focus({ preventScroll: true });
  handle.setPointerCapture(event.pointerId);
  chart.isFrozen = true;
  const top = () => chart.svg.getBoundingClientRect().top;
  const move = (moved) => set(tenths(Math.min(chart.high, Math.max(chart.low, chart.numberAt(moved.clientY - top())))));
  const stop = () => {
    handle.removeEventListener("pointermove", move);
    chart.isFrozen = false;
    window.dispatchEvent(new Event("resize")); // draws all at the new scale
  };
  handle.addEventListener("pointermove", move);
  handle.addEventListener("lostpointercapture", stop, { once: true });
}
