// The selected nets as a table that can be sorted, and as CSV.

import { csvText, download } from "./csv.js";
import { el, place } from "./element.js";
import { measured, raw, varies, written } from "./nets.js";

const ROWS = 200; // shown at once; the CSV has all

export function showSelection(root, nets, state, title) {
  const columns = nets.columns.filter((c) => varies(c) || (c.name === "test_accuracy" && measured(c)));
  let sorted = { column: null, down: false };
  const sort = (column) => {
    sorted = { column, down: sorted.column === column ? !sorted.down : column?.kind === "number" };
    show();
    root.querySelector(`[data-name="${column ? CSS.escape(column.name) : "net"}"]`)?.focus();
  };
  const show = () => {
    const chosen = ordered([...state.get("selected")].sort((a, b) => a - b), nets, sorted);
    root.hidden = !chosen.length;
    if (!chosen.length) return place(root);
    const save = () => download(`${title}-selected.csv`, csvText([["net", ...nets.columns.map((c) => c.name)], ...chosen.map((n) => [nets.number[n], ...nets.columns.map((c) => raw(c, n))])]));
    const heads = [null, ...columns].map((column) => el("th", { scope: "col", "aria-sort": sorted.column === column ? (sorted.down ? "descending" : "ascending") : null, class: column?.kind },
      el("button", { type: "button", "data-name": column?.name ?? "net", onclick: () => sort(column) }, column?.label ?? "net")));
    const body = chosen.slice(0, ROWS).map((n) => el("tr", {}, el("th", { scope: "row" }, nets.number[n]), columns.map((c) => el("td", { class: c.kind }, written(c, n)))));
    return place(
      root,
      el("div", { class: "bar" },
        el("h3", {}, `${chosen.length.toLocaleString("en")} nets selected`),
        el("button", { type: "button", id: "csv", onclick: save }, "Download CSV"),
        el("button", { type: "button", id: "clear", onclick: () => state.set({ selected: new Set() }) }, "Clear")),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "selected nets" }, el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, body))),
      chosen.length > ROWS && el("p", { class: "quiet" }, `The first ${ROWS} are shown; the CSV has all.`),
    );
  };
  state.on(["selected"], show);
  show();
}

function ordered(chosen, nets, { column, down }) {
  const value = column ? (n) => (column.kind === "category" && !column.ordered ? column.options[column.values[n]] : column.values[n]) : (n) => nets.number[n];
  const last = (v) => Number.isNaN(v);
  const compare = (a, b) => {
    const [u, v] = [value(a), value(b)];
    if (last(u) || last(v)) return last(u) - last(v);
    return (u < v ? -1 : u > v ? 1 : 0) * (down ? -1 : 1);
  };
  return chosen.sort(compare);
}
