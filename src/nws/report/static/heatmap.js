// A grid of numbers in colours, read with the pointer or with the arrow keys.

import { css, heat } from "./colour.js";
import { el, place, styled } from "./element.js";

// grid: {columns, rows: labels, values: rows of numbers, low, high, x, y: titles, sparse: label few columns, tell(row, column)}
export function showHeatmap(root, grid) {
  const canvas = el("canvas", { tabindex: 0, role: "img", "aria-label": `${grid.title}. Arrow keys read single cells.` });
  const said = el("p", { class: "said", "aria-live": "polite" }, grid.hint);
  const bar = el("canvas", { width: 120, height: 10, class: "gradient" });
  const context = bar.getContext("2d");
  for (let x = 0; x < 120; x++) {
    context.fillStyle = css(heat(x / 119));
    context.fillRect(x, 0, 1, 10);
  }
  place(root, canvas, el("div", { class: "key" }, el("span", {}, grid.write(grid.low)), bar, el("span", {}, grid.write(grid.high))), said);
  const map = { root, canvas, grid, at: null };
  const tell = (at) => {
    map.at = at;
    said.textContent = at ? grid.tell(...at) : grid.hint;
    paintHeatmap(map);
  };
  canvas.addEventListener("pointermove", (event) => tell(cellAt(map, event)));
  canvas.addEventListener("pointerdown", (event) => tell(cellAt(map, event)));
  canvas.addEventListener("pointerleave", () => document.activeElement !== canvas && tell(null));
  canvas.addEventListener("keydown", (event) => {
    const [row, column] = map.at ?? [0, -1];
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    const hold = (v, n) => Math.max(0, Math.min(n - 1, v));
    tell([hold(row + by[0], grid.rows.length), hold(column + by[1], grid.columns.length)]);
  });
  new ResizeObserver(() => root.clientWidth && root.clientWidth !== map.width && paintHeatmap(map)).observe(root);
  paintHeatmap(map);
  return { repaint: () => paintHeatmap(map) };
}

function cellAt({ canvas, grid, box }, event) {
  const frame = canvas.getBoundingClientRect();
  const column = Math.floor((event.clientX - frame.left - box.left) / box.w);
  const row = Math.floor((event.clientY - frame.top - box.top) / box.h);
  return row >= 0 && column >= 0 && row < grid.rows.length && column < grid.columns.length ? [row, column] : null;
}

function paintHeatmap(map) {
  const { canvas, grid, root } = map;
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  map.width = root.clientWidth;
  const width = root.clientWidth || 600;
  const left = grid.left ?? 56;
  const top = 6;
  const h = grid.cell ?? Math.max(10, Math.min(22, 300 / grid.rows.length));
  const w = (width - left - 4) / grid.columns.length;
  map.box = { left, top, w, h };
  const height = top + h * grid.rows.length + 40;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  grid.values.forEach((row, r) => row.forEach((value, c) => {
    if (Number.isNaN(value)) return;
    context.fillStyle = css(heat((value - grid.low) / (grid.high - grid.low || 1)));
    const [x0, x1, y0, y1] = [left + c * w, left + (c + 1) * w, top + r * h, top + (r + 1) * h].map((v) => Math.round(v * ratio) / ratio);
    context.fillRect(x0, y0, x1 - x0, y1 - y0); // whole pixels: no seams
  }));
  labels(context, map, width);
  if (map.at) {
    context.strokeStyle = styled("--accent");
    context.lineWidth = 2.5;
    context.strokeRect(left + map.at[1] * w, top + map.at[0] * h, w, h);
  }
}

function labels(context, { grid, box: { left, top, w, h } }, width) {
  context.font = `11px ${styled("--font")}`;
  context.fillStyle = styled("--quiet");
  context.textBaseline = "middle";
  context.textAlign = "right";
  const everyRow = Math.max(1, Math.ceil(13 / h));
  grid.rows.forEach((text, r) => { if (r % everyRow === 0) context.fillText(text, left - 6, top + (r + 0.5) * h); });
  const bottom = top + h * grid.rows.length + 11;
  context.textAlign = "center";
  const widest = Math.max(...grid.columns.map((text) => context.measureText(text).width)) + 14;
  const every = Math.max(1, Math.ceil(widest / w));
  grid.columns.forEach((text, c) => { if (c % every === 0) context.fillText(text, Math.min(left + (c + 0.5) * w, width - context.measureText(text).width / 2), bottom); });
  context.fillText(grid.x, left + (width - left) / 2, bottom + 18);
}
