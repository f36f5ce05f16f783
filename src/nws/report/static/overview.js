// The zoo in numbers: counts, sizes, accuracies.

import { categoryColours, css } from "./colour.js";
import { el, place, svg } from "./element.js";
import { duration, measured, percent, span, varies, write } from "./nets.js";

const BINS = 25;

export function showFacts(root, data, nets) {
  const column = (name) => nets.byName.get(name);
  const range = (name) => {
    if (column(name).values.every(Number.isNaN)) return "not measured";
    const [low, high] = span(column(name).values);
    const style = column(name).style;
    return low === high ? write(style, low) : `${write(style, low)} to ${write(style, high)}`;
  };
  const seconds = column("seconds").values.reduce((a, b) => a + (b || 0), 0);
  const facts = [
    ["nets", nets.count.toLocaleString("en")],
    ["snapshots", (data.plane?.count ?? nets.count * nets.curves.snapshots).toLocaleString("en")],
    ["weights each", range("weights")],
    ["test accuracy", range("test_accuracy")],
    ["epochs", range("epochs")],
    ["training, one core", seconds === 0 ? "not recorded" : duration(seconds)],
    ["on disk", data.nets.bytes < 1e9 ? `${(data.nets.bytes / 1e6).toFixed(1)} MB` : `${(data.nets.bytes / 1e9).toFixed(1)} GB`],
  ];
  place(root, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export function showAccuracies(root, nets) {
  const sets = nets.byName.get("dataset");
  const accuracy = nets.byName.get("test_accuracy").values;
  const colours = categoryColours(sets.options.length, false);
  place(root, sets.options.map((name, code) => {
    const values = accuracy.filter((v, n) => sets.values[n] === code && !Number.isNaN(v));
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return el("figure", {}, el("figcaption", {}, el("b", {}, name), ` ${values.length} nets, mean ${percent(mean, 1)}`), histogram(values, css(colours[code])));
  }));
}

function histogram(values, colour) {
  const bins = new Array(BINS).fill(0);
  for (const v of values) bins[Math.min(BINS - 1, Math.floor(v * BINS))]++;
  const top = Math.max(...bins, 1);
  const bars = bins.map((n, k) => {
    const bar = svg("rect", { x: k * 10 + 0.5, y: 64 - (60 * n) / top, width: 9, height: (60 * n) / top, fill: colour });
    bar.append(svg("title", {}, `${n} nets between ${percent(k / BINS)} and ${percent((k + 1) / BINS)}`));
    return bar;
  });
  const labels = [0, 0.5, 1].map((v) => svg("text", { class: "tick", x: v * BINS * 10, y: 78, "text-anchor": v === 0 ? "start" : v === 1 ? "end" : "middle" }, percent(v)));
  return svg("svg", { viewBox: `0 0 ${BINS * 10} 82`, role: "img", "aria-label": "histogram of test accuracy" }, bars, svg("line", { class: "axis", x1: 0, x2: BINS * 10, y1: 64, y2: 64 }), labels);
}

export function showOptions(root, nets) {
  const accuracy = nets.byName.get("test_accuracy").values;
  const columns = nets.columns.filter((c) => c.kind === "category" && varies(c) && !["split", "status", "converged"].includes(c.name));
  const tested = measured(nets.byName.get("test_accuracy"));
  place(root, columns.map((column) => el("table", {},
    el("caption", {}, column.label),
    el("thead", { class: "hidden" }, el("tr", {}, ["option", "nets", ...(tested ? ["", "mean test accuracy"] : [])].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, column.options.map((option, code) => {
      const values = accuracy.filter((v, n) => column.values[n] === code && !Number.isNaN(v));
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const count = column.values.reduce((sum, v) => sum + (v === code), 0);
      const bar = el("span", { class: "meter" }, el("i"));
      bar.firstChild.style.width = percent(mean || 0, 1);
      return el("tr", {}, el("th", { scope: "row" }, option), el("td", { class: "number quiet" }, count), tested && el("td", { class: "wide" }, bar), tested && el("td", { class: "number" }, percent(mean, 1)));
    })))));
}
