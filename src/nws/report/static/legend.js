// What the colours mean. An entry of a category is a button that hides and shows its nets.

import { categoryColours, css, scale } from "./colour.js";
import { el, place } from "./element.js";
import { percent, span, write } from "./nets.js";

export function showLegend(root, nets, state) {
  const show = () => {
    const name = state.get("colour");
    const column = nets.byName.get(name);
    if (column && column.kind === "category") place(root, entries(column, state));
    else place(root, gradient(nets, column, name));
  };
  state.on(["colour", "filters"], show);
  show();
}

export function toggleOption(state, column, code) {
  const filters = { ...state.get("filters") };
  const hidden = filters[column.name]?.hidden ?? [];
  const now = hidden.includes(code) ? hidden.filter((c) => c !== code) : [...hidden, code];
  if (now.length) filters[column.name] = { hidden: now };
  else delete filters[column.name];
  state.set({ filters, hover: null });
}

function entries(column, state) {
  const colours = categoryColours(column.options.length, column.ordered);
  const hidden = state.get("filters")[column.name]?.hidden ?? [];
  return column.options.map((option, code) => {
    const dot = el("span", { class: "dot" });
    dot.style.background = css(colours[code]);
    const count = column.values.reduce((sum, v) => sum + (v === code), 0);
    const attributes = { type: "button", class: "entry", "aria-pressed": String(!hidden.includes(code)), title: "hide or show" };
    return el("button", { ...attributes, onclick: () => { toggleOption(state, column, code); refocus(code); } }, dot, option, el("span", { class: "quiet" }, count));
  });
}

// The legend was made anew under the finger: keep the keyboard where it was.
function refocus(code) {
  document.querySelectorAll("#legend .entry")[code]?.focus();
}

function gradient(nets, column, name) {
  const bar = el("canvas", { width: 160, height: 10, class: "gradient" });
  const context = bar.getContext("2d");
  for (let x = 0; x < 160; x++) {
    context.fillStyle = css(scale(x / 159));
    context.fillRect(x, 0, 1, 10);
  }
  const [low, high] = column ? span(column.values) : name === "progress" ? [0, 1] : span(nets.curves.test);
  const say = (v) => (column ? write(column.style, v) : percent(v));
  return [el("span", { class: "quiet" }, say(low)), bar, el("span", { class: "quiet" }, say(high))];
}
