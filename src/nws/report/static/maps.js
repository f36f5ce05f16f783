// Performance maps: how well a property is read from a slice at a position of theta, at a snapshot.

import { choice, el, place } from "./element.js";
import { showHeatmap } from "./heatmap.js";
import { percent } from "./nets.js";

export function showMaps(root, rows, chances, state) {
  const parts = rows.map((row) => ({ ...row, meta: row.meta ?? "", part: row.part ?? "all" }));
  const names = ["property", "meta", "part"];
  const chosen = Object.fromEntries(names.map((name) => [name, parts[0][name]]));
  const controls = el("div", { class: "bar" });
  const view = el("div", { class: "heatmap" });
  place(root, controls, view);
  let map;
  const show = () => {
    place(controls, names.map((name) => {
      const options = [...new Set(parts.map((row) => row[name]))];
      if (options.length < 2) return null;
      return choice(name, options.map((v) => [v, String(v).replaceAll("_", " ")]), chosen[name], (value) => { chosen[name] = value; show(); });
    }));
    const mine = parts.filter((row) => names.every((name) => row[name] === chosen[name]));
    if (mine.length) map = showHeatmap(view, grid(mine, chances.get(chosen.property)));
    else place(view, el("p", { class: "quiet" }, "There is no such map."));
  };
  state.on(["theme"], () => map?.repaint());
  show();
}

function grid(rows, chance) {
  const rising = (name) => [...new Set(rows.map((row) => row[name]))].sort((a, b) => a - b);
  const [positions, snapshots] = [rising("position"), rising("snapshot")];
  const values = snapshots.map(() => new Array(positions.length).fill(NaN));
  const counts = snapshots.map(() => new Array(positions.length).fill(null));
  for (const row of rows) {
    const [r, c] = [snapshots.indexOf(row.snapshot), positions.indexOf(row.position)];
    values[r][c] = row.accuracy ?? NaN;
    counts[r][c] = row.n;
  }
  const known = values.flat().filter((v) => !Number.isNaN(v));
  const low = chance ?? rows[0].chance ?? Math.min(...known);
  return {
    title: "Accuracy by position and snapshot", hint: "Point at a cell, or focus the map and use the arrow keys.",
    columns: positions.map(String), rows: snapshots.map(String), values, low, high: Math.max(...known, low + 0.01),
    x: "position in the weights →  (rows: snapshot, the first is the initialization)", left: 28, write: (v) => percent(v),
    tell: (r, c) => `Position ${positions[c]}, snapshot ${snapshots[r]}: ${percent(values[r][c], 1)} right${counts[r][c] ? ` of ${counts[r][c]}` : ""}`,
  };
}
