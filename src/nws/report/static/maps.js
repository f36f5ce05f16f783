// Performance maps: how well a property is read from a slice at a position of theta, at a snapshot.

import { dequantise } from "./bytes.js";
import { choice, el, place } from "./element.js";
import { showHeatmap } from "./heatmap.js";
import { percent, worded } from "./nets.js";

export function showMaps(root, rows, state) {
  const names = ["property", "meta", "part"];
  const chosen = Object.fromEntries(names.map((name) => [name, rows[0][name]]));
  const controls = el("div", { class: "bar" });
  const view = el("div", { class: "heatmap" });
  place(root, controls, view);
  let map;
  const show = () => {
    place(controls, names.map((name) => {
      const options = [...new Set(rows.map((row) => row[name]))];
      if (options.length < 2) return null;
      return choice(name, options.map((v) => [v, worded(v)]), chosen[name], (value) => { chosen[name] = value; show(); });
    }));
    const mine = rows.find((row) => names.every((name) => row[name] === chosen[name]));
    if (mine) map = showHeatmap(view, grid(mine));
    else place(view, el("p", { class: "quiet" }, "There is no such map."));
  };
  state.on(["theme"], () => map?.repaint());
  show();
}

// Colours run from chance to the best place, or to four standard deviations above chance: a map of noise stays dark.
function grid(row) {
  const { positions, snapshots, n, chance } = row;
  const flat = dequantise(row.accuracy);
  const values = snapshots.map((_, r) => Array.from(flat.subarray(r * positions.length, (r + 1) * positions.length)));
  const known = values.flat().filter((v) => !Number.isNaN(v));
  const noise = 4 * Math.sqrt((chance * (1 - chance)) / n);
  return {
    title: "Accuracy by position and snapshot", hint: "Point at a cell, or focus the map and use the arrow keys.",
    columns: positions.map((p) => percent(p)), rows: snapshots.map(String), values, low: chance, high: Math.min(1, Math.max(...known, chance + noise)),
    x: "position in the weights →   (rows: snapshots, the first is the initialization)", left: 28, write: (v) => percent(v),
    tell: (r, c) => `Position ${percent(positions[c])}, snapshot ${snapshots[r]}: ${percent(values[r][c], 1)} right, chance ${percent(chance)}, ${n} nets`,
  };
}
