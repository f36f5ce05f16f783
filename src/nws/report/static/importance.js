// Which statistics of which layer a linear meta-classifier leans on.

import { choice, el, place, svg } from "./element.js";
import { showHeatmap } from "./heatmap.js";
import { worded } from "./nets.js";

const TOP = 12;

export function showImportance(root, rows, state) {
  const properties = [...new Set(rows.map((row) => row.property))];
  let chosen = properties[0];
  const controls = el("div", { class: "bar" });
  const view = el("div", { class: "heatmap" });
  const best = el("div", { class: "best" });
  place(root, controls, view, best);
  let map;
  const show = () => {
    place(controls, choice("property", properties.map((p) => [p, worded(p)]), chosen, (value) => { chosen = value; show(); }));
    const mine = rows.filter((row) => row.property === chosen && row.mean !== null);
    map = showHeatmap(view, layers(mine));
    place(best, el("h3", {}, `The ${Math.min(TOP, mine.length)} statistics that count most`), top(mine));
  };
  state.on(["theme"], () => map?.repaint());
  show();
}

function layers(rows) {
  const [names, types] = ["layer", "type"].map((key) => [...new Set(rows.map((row) => String(row[key])))]);
  const sums = types.map(() => names.map(() => [0, 0]));
  for (const row of rows) {
    const cell = sums[types.indexOf(String(row.type))][names.indexOf(String(row.layer))];
    cell[0] += row.mean;
    cell[1] += 1;
  }
  const values = sums.map((line) => line.map(([sum, n]) => (n ? sum / n : NaN)));
  const known = values.flat().filter((v) => !Number.isNaN(v));
  const short = (v) => Number(v.toPrecision(3)).toString();
  return {
    title: "Mean importance by layer and weight type", hint: "Colour: mean importance of the statistics of one layer and weight type.",
    columns: names, rows: types, values, low: 0, high: Math.max(...known, 1e-9), x: "layer", left: 72, cell: 26, write: short,
    tell: (r, c) => `${names[c]}, ${types[r]}: mean importance ${Number.isNaN(values[r][c]) ? "none" : short(values[r][c])}`,
  };
}

function top(rows) {
  const best = [...rows].sort((a, b) => b.mean - a.mean).slice(0, TOP);
  const high = Math.max(...best.map((row) => row.mean + (row.spread ?? 0)), 1e-9);
  return el("table", { class: "ranked" }, el("tbody", {}, best.map((row) => {
    const [to, reach] = [(200 * row.mean) / high, (200 * (row.spread ?? 0)) / high];
    const bar = svg("svg", { viewBox: "0 0 200 12", preserveAspectRatio: "none", role: "img", "aria-label": `importance ${row.mean}` },
      svg("rect", { class: "fill", x: 0, y: 1, width: to, height: 10 }),
      svg("line", { class: "whisker", x1: Math.max(0, to - reach), x2: to + reach, y1: 6, y2: 6 }));
    return el("tr", {}, el("th", { scope: "row" }, `${row.layer} ${row.type}`), el("td", {}, row.statistic), el("td", { class: "wide" }, bar), el("td", { class: "number" }, `${Number(row.mean.toPrecision(3))}${row.spread ? ` ± ${Number(row.spread.toPrecision(2))}` : ""}`));
  })));
}
