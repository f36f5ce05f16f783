// The nets of the zoo: columns of hyper-parameters and measurements, and how their values are written.

import { unpack, dequantise } from "./bytes.js";

// As `nws info` writes it, so that page and command say the same.
export function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 100) return `${s} s`;
  return s < 7200 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

const WRITE = {
  percent: (v) => `${(100 * v).toFixed(1)}%`,
  number: (v) => Number(v.toPrecision(3)).toString(),
  count: (v) => Math.round(v).toLocaleString("en"),
  seconds: (v) => (v < 100 ? `${v.toFixed(1)} s` : `${Math.round(v / 60)} min`),
};

export function readNets(data) {
  const columns = data.nets.columns.map((column) => ({ ...column, values: unpack(column) }));
  const byName = new Map(columns.map((column) => [column.name, column]));
  const curves = { snapshots: data.curves.snapshots, epoch: unpack(data.curves.epoch) };
  for (const line of ["train", "validation", "test"]) curves[line] = dequantise(data.curves[line]);
  return { count: data.nets.count, number: unpack(data.nets.number), columns, byName, curves };
}

export function written(column, net) {
  const value = column.values[net];
  if (column.kind === "category") return column.options[value];
  return Number.isNaN(value) ? "not measured" : WRITE[column.style](value);
}

export function percent(value, digits = 0) {
  return value === null || value === undefined || Number.isNaN(value) ? "–" : `${(100 * value).toFixed(digits)}%`;
}

// A property in prose.
export function worded(name) {
  return name === "dataset" ? "image set" : String(name).replaceAll("_", " ");
}

export function write(style, value) {
  return WRITE[style](value);
}

export function span(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : [0, 1];
}

// Whether anything was measured: of a family without test accuracies nothing is said of them.
export function measured(column) {
  return column.values.some((v) => !Number.isNaN(v));
}

export function varies(column) {
  if (column.kind === "category") return column.options.length > 1;
  const [low, high] = span(column.values);
  return high > low;
}

// Exact where float32 allows: 0.1 instead of 0.10000000149.
export function raw(column, net) {
  if (column.kind === "category") return column.options[column.values[net]];
  const value = column.values[net];
  return Number.isNaN(value) ? "" : Number(value.toPrecision(7));
}
