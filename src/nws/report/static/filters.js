// Filters: options of categories and ranges of numbers. They hold for the picture and for what a lasso can catch.

import { el, place } from "./element.js";
import { toggleOption } from "./legend.js";
import { span, varies, write } from "./nets.js";
import { passing } from "./state.js";

const RANGES = ["test_accuracy", "weights"]; // and properties that are numbers
const STEPS = 200;

export function showFilters(root, told, nets, state) {
  const categories = nets.columns.filter((c) => c.kind === "category" && varies(c));
  const ranges = nets.columns.filter((c) => c.kind === "number" && (c.property || RANGES.includes(c.name)) && varies(c));
  const updates = [];
  place(
    root,
    categories.map((column) => chips(column, state, updates)),
    ranges.map((column) => range(column, state, updates)),
  );
  const update = () => {
    const shown = passing(nets, state.get("filters")).reduce((a, b) => a + b, 0);
    told.textContent = `${shown.toLocaleString("en")} of ${nets.count.toLocaleString("en")} nets shown`;
    for (const call of updates) call();
  };
  state.on(["filters"], update);
  update();
}

function chips(column, state, updates) {
  const buttons = column.options.map((option, code) => el("button", { type: "button", class: "chip", onclick: () => toggleOption(state, column, code) }, option));
  updates.push(() => {
    const hidden = state.get("filters")[column.name]?.hidden ?? [];
    buttons.forEach((button, code) => button.setAttribute("aria-pressed", String(!hidden.includes(code))));
  });
  return el("fieldset", {}, el("legend", {}, column.label), buttons);
}

function range(column, state, updates) {
  const [low, high] = span(column.values);
  const value = (step) => low + ((high - low) * step) / STEPS;
  const inputs = ["at least", "at most"].map((what, k) =>
    el("input", { type: "range", min: 0, max: STEPS, value: k * STEPS, "aria-label": `${column.label} ${what}`, oninput: change }),
  );
  const said = el("output", { class: "quiet" });
  function change() {
    const [a, b] = inputs.map((input) => Number(input.value));
    const filters = { ...state.get("filters") };
    // The ends stand for "no limit", so that nets never measured are not lost to a filter nobody set.
    if (a === 0 && b === STEPS) delete filters[column.name];
    else filters[column.name] = { low: a === 0 ? -Infinity : value(a), high: b === STEPS ? Infinity : value(b) };
    state.set({ filters, hover: null });
  }
  updates.push(() => {
    if (!state.get("filters")[column.name]) inputs.forEach((input, k) => { input.value = k * STEPS; });
    said.textContent = inputs.map((input) => write(column.style, value(Number(input.value)))).join(" to ");
  });
  return el("fieldset", {}, el("legend", {}, column.label), inputs, said);
}
