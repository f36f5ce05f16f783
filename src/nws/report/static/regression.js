// Linear regression of test accuracy on the options: a column per image set, p above 5% starred.

import { el, place } from "./element.js";
import { worded } from "./nets.js";

export function showRegression(root, rows) {
  const term = (row) => worded(row.property) + (row.option ? ` = ${row.option}` : "");
  const sets = [...new Set(rows.map((row) => String(row.dataset)))];
  // An option without a converged net in one set has its place from the sets that have it: the fullest come first.
  const size = (row) => rows.filter((other) => other.dataset === row.dataset).length;
  const terms = [...new Set([...rows].sort((a, b) => size(b) - size(a)).map(term))];
  const found = new Map(rows.map((row) => [`${row.dataset}\n${term(row)}`, row]));
  const fit = (name) => rows.find((row) => String(row.dataset) === name);
  const most = Math.max(...rows.filter((row) => row.property !== "constant").map((row) => Math.abs(row.coefficient ?? 0)), 1e-9);
  const cell = (row) => {
    if (!row || row.coefficient === null) return el("td", { class: "number quiet" }, "–");
    const { p } = row;
    const weak = p !== null && p > 0.05;
    const bar = el("span", { class: row.coefficient < 0 ? "lean minus" : "lean plus" }, el("i"));
    bar.firstChild.style.width = `${Math.min(50, (50 * Math.abs(row.coefficient)) / most)}%`;
    const title = p === null ? null : `p = ${Number(p.toPrecision(2))}`;
    return el("td", { class: weak ? "number weak" : "number", title }, bar, `${row.coefficient < 0 ? "−" : "+"}${Math.abs(row.coefficient).toFixed(3)}${weak ? "*" : ""}`);
  };
  place(
    root,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "regression coefficients" }, el("table", { class: "regression" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "option"), sets.map((name) => el("th", { scope: "col", class: "number" }, name, el("br"), el("span", { class: "quiet" }, `${fit(name).nets} nets, R² ${fit(name).r2.toFixed(2)}`))))),
      el("tbody", {}, terms.map((term) => el("tr", {}, el("th", { scope: "row" }, term), sets.map((name) => cell(found.get(`${name}\n${term}`)))))))),
    el("p", { class: "quiet" }, "Coefficients of a linear model of the test accuracy of converged nets, one per image set, in standard deviations of the accuracy: effects against the mean of a property's options. * p > 5%: not told apart from zero."),
  );
}
