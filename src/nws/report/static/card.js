// The card of one net: hyper-parameters and its accuracy curve.

import { curve, curveLegend } from "./curve.js";
import { el, place } from "./element.js";
import { measured, varies, written } from "./nets.js";

const SHOWN = ["test_accuracy", "epochs", "weights"];

export function fillCard(card, nets, net, moment, progress) {
  const told = nets.columns.filter((c) => (c.kind === "category" || c.property) && varies(c) && !["split", "converged"].includes(c.name));
  const rows = [...told, ...SHOWN.map((name) => nets.byName.get(name)).filter((c) => (c.name === "test_accuracy" ? measured(c) : varies(c)))];
  const curves = ["train", "validation", "test"].some((line) => nets.curves[line].some((v) => !Number.isNaN(v)));
  place(
    card,
    el("h3", {}, `Net ${nets.number[net]}`, el("span", { class: "quiet" }, moment)),
    el("dl", {}, rows.map((c) => [el("dt", {}, c.label), el("dd", {}, written(c, net))]).flat()),
    curves && curve(nets, net, progress),
    curves && el("p", { class: "key" }, curveLegend()),
  );
  card.hidden = false;
}
