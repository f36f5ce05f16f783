// The accuracy of one net while it was trained: train, validation and test at its snapshots.

import { svg } from "./element.js";

const LINES = [
  ["train", "curve-train"],
  ["validation", "curve-validation"],
  ["test", "curve-test"],
];

export function curve(nets, net, progress, width = 232, height = 92) {
  const { snapshots, epoch } = nets.curves;
  const from = net * snapshots;
  const last = Math.max(1, ...epoch.subarray(from, from + snapshots));
  const [left, right, top, bottom] = [34, width - 4, 6, height - 16];
  const x = (e) => left + ((right - left) * e) / last;
  const y = (a) => bottom - (bottom - top) * a;
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "accuracy during training" });
  for (const share of [0, 0.5, 1]) {
    image.append(svg("line", { class: "grid", x1: left, x2: right, y1: y(share), y2: y(share) }));
    image.append(svg("text", { class: "tick", x: left - 4, y: y(share) + 3, "text-anchor": "end" }, `${100 * share}%`));
  }
  image.append(svg("text", { class: "tick", x: right, y: height - 3, "text-anchor": "end" }, `epoch ${last}`));
  image.append(svg("line", { class: "now", x1: x(progress * last), x2: x(progress * last), y1: top, y2: bottom }));
  for (const [name, style] of LINES) {
    const points = [];
    for (let s = 0; s < snapshots; s++) {
      const value = nets.curves[name][from + s];
      if (!Number.isNaN(value)) points.push(`${x(epoch[from + s]).toFixed(1)},${y(value).toFixed(1)}`);
    }
    image.append(svg("polyline", { class: style, points: points.join(" ") }));
  }
  return image;
}

export function curveLegend() {
  return LINES.map(([name, style]) => {
    const sample = svg("svg", { width: 16, height: 8 }, svg("line", { class: style, x1: 0, x2: 16, y1: 4, y2: 4 }));
    return [sample, ` ${name} `];
  }).flat();
}
