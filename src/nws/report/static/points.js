// Places of snapshots in the plane, where each net is at a moment of its training, and what colour each has.

import { dequantise, unpack } from "./bytes.js";
import { categoryColours, scale, UNKNOWN } from "./colour.js";
import { span } from "./nets.js";

export function readPoints(plane, nets) {
  const points = { count: plane.count, net: unpack(plane.net), snapshot: unpack(plane.snapshot), x: dequantise(plane.x), y: dequantise(plane.y) };
  points.first = new Int32Array(nets.count + 1).fill(-1); // where a net's points start; they stand net by net
  points.length = new Int32Array(nets.count);
  for (let i = points.count - 1; i >= 0; i--) {
    points.first[points.net[i]] = i;
    points.length[points.net[i]]++;
  }
  return points;
}

// Where net n is at `progress` (0 to 1): on the line between two of its snapshots. Writes into out, returns the earlier point.
export function headOf(points, n, progress, out) {
  const at = progress * (points.length[n] - 1);
  const low = Math.min(Math.floor(at), Math.max(0, points.length[n] - 2));
  const [i, j] = [points.first[n] + low, points.first[n] + Math.min(low + 1, points.length[n] - 1)];
  out[0] = points.x[i] + (points.x[j] - points.x[i]) * (at - low);
  out[1] = points.y[i] + (points.y[j] - points.y[i]) * (at - low);
  return i;
}

// Names that can be chosen as colour beyond the columns of the nets: they differ between the snapshots of a net.
export const MOMENTS = [
  ["progress", "progress of training"],
  ["accuracy_now", "test accuracy at the time"],
];

// -> {colours: Uint32Array (points), values per point or null, low, high, column}
export function colouring(points, nets, name) {
  const colours = new Uint32Array(points.count);
  const column = nets.byName.get(name);
  if (column && column.kind === "category") {
    const palette = categoryColours(column.options.length, column.ordered).map(word);
    for (let i = 0; i < points.count; i++) colours[i] = palette[column.values[points.net[i]]];
    return { name, column, colours };
  }
  const value = column ? (i) => column.values[points.net[i]] : moment(points, nets, name);
  const values = Float32Array.from({ length: points.count }, (_, i) => value(i));
  const [low, high] = span(values);
  const palette = Array.from({ length: 256 }, (_, k) => word(scale(k / 255)));
  const unknown = word(UNKNOWN);
  for (let i = 0; i < points.count; i++) {
    const share = (values[i] - low) / (high - low || 1);
    colours[i] = Number.isNaN(share) ? unknown : palette[Math.round(255 * share)];
  }
  return { name, column, colours, low, high };
}

function moment(points, nets, name) {
  if (name === "progress") return (i) => (i - points.first[points.net[i]]) / Math.max(1, points.length[points.net[i]] - 1);
  return (i) => nets.curves.test[points.net[i] * nets.curves.snapshots + points.snapshot[i] - 1];
}

function word([r, g, b]) {
  return (255 << 24) | (b << 16) | (g << 8) | r;
}
