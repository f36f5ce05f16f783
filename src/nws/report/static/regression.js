// Linear regression of test accuracy on the options: a column per image set, p above 5% starred.

import { el, place } from "./element.js";
import { worded } from "./nets.js";

export function showRegression(root, rows) {
  const [sets, terms] = ["dataset", "term"].map((key) => [...new Set(rows.map((row) => String(row[key])))]);
  const found = new Map(rows.map((row) => [`${row.dataset}\n${row.term}`, row]));
  const most = Math.max(...rows.filter((row) => !/const|intercept/i.test(row.term)).map((row) => Math.abs(row.coefficient ?? 0)), 1e-9);
  const cell = (row) => {
    if (!row || row.coefficient === null) return el("td", { class: "number quiet" }, "–");
    const p = row.p ?? row.p_value;
    const weak = p !== null && p !== undefined && p > 0.05;
    const bar = el("span", { class: row.coefficient < 0 ? "lean minus" : "lean plus" }, el("i"));
    bar.firstChild.style.width = `${Math.min(50, (50 * Math.abs(row.coefficient)) / most)}%`;
    const title = p === null || p === undefined ? null : `p = ${Number(p.toPrecision(2))}`;
    return el("td", { class: weak ? "number weak" : "number", title }, bar, `${row.coefficient < 0 ? "−" : "+"}${Math.abs(row.coefficient).toFixed(3)}${weak ? "*" : ""}`);
  };
  place(
    root,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "regression coefficients" }, el("table", { class: "regression" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "option"), sets.map((name) => el("th", { scope: "col", class: "number" }, name)))),
      el("tbody", {}, terms.map((term) => el("tr", {}, el("th", { scope: "row" }, worded(term.replace(/^dataset=/, "image set=").replace("=", " = "))), sets.map((name) => cell(found.get(`${name}\n${term}`)))))))),
    el("p", { class: "quiet" }, "Coefficients of a linear model of test accuracy per image set. * p > 5%: not told apart from zero."),
  );
}
