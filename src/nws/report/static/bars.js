// Meta-classification: a bar per meta-classifier with its 95% interval over nets, and chance.

import { metaColour } from "./colour.js";
import { choice, el, place, svg } from "./element.js";
import { percent, worded } from "./nets.js";

const [ROW, GAP] = [17, 20];

export function showBars(root, rows) {
  const reads = [...new Set(rows.map(kind))];
  let chosen = reads[0];
  const show = () => {
    const mine = rows.filter((row) => kind(row) === chosen);
    const scored = mine.filter((row) => row.accuracy !== null);
    const metas = [...new Set(scored.map((row) => row.meta))];
    place(
      root,
      reads.length > 1 && choice("read from", reads.map((r) => [r, r]), chosen, (value) => { chosen = value; show(); }),
      scored.length && el("p", { class: "key" }, metas.map((meta, k) => [swatch(metaColour(meta, k)), `${meta} `]).flat(), svg("svg", { width: 10, height: 14 }, svg("line", { class: "chance", x1: 5, x2: 5, y1: 0, y2: 14 })), "chance, ", svg("svg", { width: 22, height: 12 }, svg("path", { class: "whisker", d: "M2 6H20M2 3V9M20 3V9" })), "95% interval over nets"),
      scored.length && chart(scored, metas, root.clientWidth || 600),
      errors(mine.filter((row) => row.accuracy === null && row.error !== null)),
    );
  };
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(root.clientWidth - width) > 2) {
      width = root.clientWidth;
      show();
    }
  }).observe(root);
  show();
}

function kind(row) {
  const part = row.part && row.part !== "all" ? `, ${row.part} part` : "";
  return (row.slice_length ? `slices of ${Number(row.slice_length).toLocaleString("en")} weights` : "whole nets") + part;
}

function swatch(colour) {
  const dot = el("span", { class: "dot" });
  dot.style.background = colour;
  return dot;
}

function chart(rows, metas, width) {
  const properties = [...new Set(rows.map((row) => row.property))];
  const clear = (name) => Math.max(...rows.filter((r) => r.property === name).map((r) => (r.accuracy - r.chance) / (1 - r.chance)));
  properties.sort((a, b) => clear(b) - clear(a));
  const letters = Math.max(...properties.map((name) => worded(name).length));
  const [left, right] = [Math.min(0.45 * width, Math.max(width < 520 ? 108 : 132, 7.5 * letters + 14)), width - 50];
  const x = (share) => left + (right - left) * share;
  const image = svg("svg", { width, class: "bars", role: "img", "aria-label": "accuracy of meta-classifiers by property" });
  let y = 20;
  const top = y;
  const later = [];
  for (const name of properties) {
    const from = y;
    const mine = rows.filter((row) => row.property === name);
    image.append(svg("text", { class: "label", x: left - 10, y: from + (mine.length * ROW) / 2 + 4, "text-anchor": "end" }, worded(name)));
    for (const row of mine) {
      later.push(bar(row, metas, x, y, right));
      y += ROW;
    }
    later.push(svg("line", { class: "chance", x1: x(mine[0].chance), x2: x(mine[0].chance), y1: from - 3, y2: y }));
    y += GAP;
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    image.append(svg("line", { class: "grid", x1: x(share), x2: x(share), y1: top - 5, y2: y - GAP }));
    image.append(svg("text", { class: "tick", x: x(share), y: top - 9, "text-anchor": "middle" }, percent(share)));
  }
  image.append(...later);
  image.setAttribute("height", y);
  return image;
}

function bar(row, metas, x, y, right) {
  const middle = y + ROW / 2 - 1;
  const group = svg("g", {},
    svg("title", {}, `${row.property}, ${row.meta}: ${percent(row.accuracy, 1)}, interval ${percent(row.low, 1)} to ${percent(row.high, 1)}, chance ${percent(row.chance, 1)}${row.n_tested ? `, ${row.n_tested} nets tested` : ""}`),
    svg("rect", { x: x(0), y: y + 1, width: Math.max(0, x(row.accuracy) - x(0)), height: ROW - 4, fill: metaColour(row.meta, metas.indexOf(row.meta)), rx: 2 }),
    svg("path", { class: "whisker", d: `M${x(row.low)} ${middle}H${x(row.high)}M${x(row.low)} ${middle - 3}V${middle + 3}M${x(row.high)} ${middle - 3}V${middle + 3}` }),
    svg("text", { class: row.low > row.chance ? "value clear" : "value", x: right + 8, y: y + ROW - 5 }, percent(row.accuracy)));
  return group;
}

function errors(rows) {
  if (!rows.length) return null;
  const known = (v) => v !== null && v !== undefined;
  const short = (v) => (known(v) ? Number(v.toPrecision(3)).toString() : "–");
  const signed = (v) => (known(v) ? v.toFixed(2).replace("-", "−") : "–");
  const within = (r, name) => (known(r[name]) ? `${signed(r[name])} (${signed(r[`${name}_low`])} to ${signed(r[`${name}_high`])})` : "–");
  const error = (r) => `${short(r.error)} (${short(r.low)} to ${short(r.high)})`;
  const heads = ["number", "meta-classifier", "R²", "Kendall's tau", "mean absolute error", "of always the median"];
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "numbers that are read" }, el("table", {},
    el("caption", {}, "Numbers, with 95% intervals over nets. R² and tau: 1 is perfect, 0 is guessing."),
    el("thead", {}, el("tr", {}, heads.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, rows.map((r) => el("tr", {}, el("th", { scope: "row" }, worded(r.property)), el("td", {}, r.meta), [within(r, "r2"), within(r, "tau"), error(r), short(r.chance)].map((text) => el("td", { class: "number" }, text)))))));
}
