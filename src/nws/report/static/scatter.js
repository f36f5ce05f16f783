// The plane of all snapshots on two canvases: points below, and above them what follows the pointer.
//
// Points are stamped into a pixel buffer by our own loop: 60,000 of them take a few milliseconds without a GPU, where a call
// of the canvas per point takes fifty.

import { fillCard } from "./card.js";
import { styled } from "./element.js";
import { caught } from "./lasso.js";
import { colouring, headOf } from "./points.js";
import { passing } from "./state.js";

const NEAR = 14; // pixels within which the pointer finds a net

export function makeScatter(root, nets, points, state) {
  const [canvas, over] = root.querySelectorAll("canvas");
  const card = root.querySelector(".card");
  const plot = { nets, points, state, canvas, over, card, root, view: null, mask: passing(nets, {}), queued: false, line: null };
  plot.order = shuffled(points.count);
  plot.whole = bounds(points);
  recolour(plot);
  reset(plot);
  state.on(["colour"], () => { recolour(plot); draw(plot); });
  state.on(["filters"], () => { plot.mask = passing(nets, state.get("filters")); draw(plot); });
  state.on(["progress", "trail", "selected", "theme"], () => draw(plot));
  state.on(["hover", "selected", "progress"], () => drawOver(plot));
  new ResizeObserver(() => resize(plot)).observe(root);
  listen(plot);
  resize(plot);
  return { reset: () => { reset(plot); draw(plot); }, zoom: (by) => { zoom(plot, by); draw(plot); } };
}

// Points of one net would cover each other in the order of its number: draw in an order that mixes all of them.
function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let seed = 1;
  for (let i = count - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = seed % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function bounds(points) {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < points.count; i++) {
    x0 = Math.min(x0, points.x[i]);
    x1 = Math.max(x1, points.x[i]);
    y0 = Math.min(y0, points.y[i]);
    y1 = Math.max(y1, points.y[i]);
  }
  return { x: (x0 + x1) / 2, y: (y0 + y1) / 2, w: (x1 - x0 || 1) * 1.06, h: (y1 - y0 || 1) * 1.06 };
}

function recolour(plot) {
  plot.colouring = colouring(plot.points, plot.nets, plot.state.get("colour"));
}

function reset(plot) {
  plot.view = { ...plot.whole };
}

function resize(plot) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const [width, height] = [plot.root.clientWidth, plot.root.clientHeight];
  if (!width || !height) return;
  Object.assign(plot, { ratio, width, height });
  for (const canvas of [plot.canvas, plot.over]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  plot.image = plot.canvas.getContext("2d").createImageData(plot.canvas.width, plot.canvas.height);
  plot.pixels = new Uint32Array(plot.image.data.buffer);
  paint(plot);
  drawOver(plot);
}

// At most once per frame, however often something changes.
function draw(plot) {
  if (plot.queued) return;
  plot.queued = true;
  requestAnimationFrame(() => {
    plot.queued = false;
    paint(plot);
    drawOver(plot);
  });
}

function paint(plot) {
  if (!plot.pixels) return;
  const { points, mask, order, colouring: { colours }, state, ratio } = plot;
  const { toX, toY } = transform(plot, ratio);
  const [trail, progress, selected] = [state.get("trail"), state.get("progress"), state.get("selected")];
  plot.pixels.fill(wordOfHex(styled("--plot")));
  const cloud = stamp((points.count > 20000 ? 1 : 1.7) * ratio, 0.5);
  if (trail !== "none") {
    for (let k = 0; k < points.count; k++) {
      const i = order[k];
      const n = points.net[i];
      if (!mask[n] || (trail === "past" && i - points.first[n] > progress * (points.length[n] - 1))) continue;
      put(plot, cloud, toX(points.x[i]), toY(points.y[i]), colours[i]);
    }
  }
  const size = (plot.nets.count > 1000 ? 2.4 : 3.6) * ratio;
  const [ring, head, at] = [stamp(size + 1.1 * ratio, 1), stamp(size, 1), [0, 0]];
  const [edge, chosen] = [wordOfHex(styled("--plot")), wordOfHex(styled("--ink"))];
  for (let n = 0; n < plot.nets.count; n++) {
    if (!mask[n] || !points.length[n]) continue;
    const i = headOf(points, n, progress, at);
    const [x, y] = [toX(at[0]), toY(at[1])];
    put(plot, ring, x, y, selected.has(n) ? chosen : edge);
    put(plot, head, x, y, colours[i]);
  }
  plot.canvas.getContext("2d").putImageData(plot.image, 0, 0);
}

// A disc as rows of [dx, dy, coverage of 256].
function stamp(radius, alpha) {
  const reach = Math.ceil(radius);
  const found = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
      if (cover > 0.02) found.push(dx, dy, Math.round(256 * alpha * cover));
    }
  }
  return { reach, marks: Int32Array.from(found) };
}

function put(plot, { reach, marks }, x, y, colour) {
  const { pixels, canvas: { width, height } } = plot;
  x = Math.round(x);
  y = Math.round(y);
  if (x < reach || y < reach || x >= width - reach || y >= height - reach) return;
  const r = colour & 255;
  const g = (colour >> 8) & 255;
  const b = (colour >> 16) & 255;
  for (let m = 0; m < marks.length; m += 3) {
    const at = (y + marks[m + 1]) * width + x + marks[m];
    const a = marks[m + 2];
    const under = pixels[at];
    const ur = under & 255;
    const ug = (under >> 8) & 255;
    const ub = (under >> 16) & 255;
    pixels[at] = (255 << 24) | ((ub + (((b - ub) * a) >> 8)) << 16) | ((ug + (((g - ug) * a) >> 8)) << 8) | (ur + (((r - ur) * a) >> 8));
  }
}

function wordOfHex(hex) {
  const value = parseInt(hex.slice(1), 16);
  return (255 << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}

function transform(plot, ratio = 1) {
  const { view, width, height } = plot;
  const [kx, ky] = [(width * ratio) / view.w, (height * ratio) / view.h];
  const [left, top] = [view.x - view.w / 2, view.y + view.h / 2];
  return { toX: (x) => (x - left) * kx, toY: (y) => (top - y) * ky };
}

function zoom(plot, by, px = plot.width / 2, py = plot.height / 2) {
  const { view } = plot;
  by = Math.min(by, plot.whole.w * 4 / view.w);
  const [dx, dy] = [(px / plot.width - 0.5) * view.w, (0.5 - py / plot.height) * view.h];
  plot.view = { x: view.x + dx * (1 - by), y: view.y + dy * (1 - by), w: view.w * by, h: view.h * by };
}

function pan(plot, px, py) {
  plot.view.x -= (px / plot.width) * plot.view.w;
  plot.view.y += (py / plot.height) * plot.view.h;
}

// Everything that is drawn now, as (net, x, y) in CSS pixels; heads last, so that they win.
function* drawn(plot) {
  const { points, mask, state } = plot;
  const { toX, toY } = transform(plot);
  const [trail, progress, at] = [state.get("trail"), state.get("progress"), [0, 0]];
  for (let i = 0; trail !== "none" && i < points.count; i++) {
    const n = points.net[i];
    if (mask[n] && !(trail === "past" && i - points.first[n] > progress * (points.length[n] - 1))) yield [n, toX(points.x[i]), toY(points.y[i]), i];
  }
  for (let n = 0; n < plot.nets.count; n++) {
    if (!mask[n] || !points.length[n]) continue;
    headOf(points, n, progress, at);
    yield [n, toX(at[0]), toY(at[1]), -1];
  }
}

function nearest(plot, px, py) {
  let [best, found] = [NEAR * NEAR, null];
  for (const [n, x, y, i] of drawn(plot)) {
    const far = (x - px) ** 2 + (y - py) ** 2;
    if (far <= best) [best, found] = [far, { net: n, point: i, x, y }];
  }
  return found;
}

function drawOver(plot) {
  const { over, points, ratio, state } = plot;
  const context = over.getContext("2d");
  context.setTransform(ratio || 1, 0, 0, ratio || 1, 0, 0);
  context.clearRect(0, 0, over.width, over.height);
  context.strokeStyle = styled("--ink");
  if (plot.line) {
    context.beginPath();
    plot.line.forEach(([x, y]) => context.lineTo(x, y));
    context.closePath();
    context.fillStyle = styled("--lasso");
    context.fill();
    context.setLineDash([5, 4]);
    context.stroke();
    context.setLineDash([]);
  }
  const hover = state.get("hover");
  plot.card.hidden = hover === null;
  if (hover === null || !points.length[hover.net]) return;
  const { toX, toY } = transform(plot);
  context.lineWidth = 1.2;
  context.beginPath();
  for (let i = points.first[hover.net], k = 0; k < points.length[hover.net]; i++, k++) context.lineTo(toX(points.x[i]), toY(points.y[i]));
  context.stroke();
  const [x, y, moment, progress] = placeOf(plot, hover);
  context.lineWidth = 2.2;
  context.beginPath();
  context.arc(x, y, 7.5, 0, 7);
  context.stroke();
  fillCard(plot.card, plot.nets, hover.net, moment, progress);
  moveCard(plot, x, y);
}

function placeOf(plot, { net, point }) {
  const { toX, toY } = transform(plot);
  if (point >= 0) {
    const count = plot.points.length[net];
    const share = (point - plot.points.first[net]) / Math.max(1, count - 1);
    return [toX(plot.points.x[point]), toY(plot.points.y[point]), `snapshot ${plot.points.snapshot[point]} of ${count}`, share];
  }
  const at = [0, 0];
  const progress = plot.state.get("progress");
  headOf(plot.points, net, progress, at);
  return [toX(at[0]), toY(at[1]), `at ${Math.round(100 * progress)}% of training`, progress];
}

function moveCard({ card, width, height }, x, y) {
  const [w, h] = [card.offsetWidth, card.offsetHeight];
  const left = x + 18 + w < width ? x + 18 : x - 18 - w;
  card.style.left = `${Math.max(6, Math.min(left, width - w - 6))}px`;
  card.style.top = `${Math.max(6, Math.min(y - h / 2, height - h - 6))}px`;
}

function listen(plot) {
  const { over, state } = plot;
  const fingers = new Map();
  const at = (event) => {
    const box = over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    plot.moved = 0;
    plot.line = fingers.size === 1 && (state.get("lasso") || event.shiftKey) ? [at(event)] : null;
  });
  over.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!fingers.has(event.pointerId)) {
      look(plot, x, y);
      return;
    }
    const [fromX, fromY] = fingers.get(event.pointerId);
    plot.moved += Math.hypot(x - fromX, y - fromY);
    if (plot.line) {
      plot.line.push([x, y]);
      drawOver(plot);
    } else {
      if (fingers.size === 2) pinch(plot, fingers, event.pointerId, x, y);
      pan(plot, (x - fromX) / fingers.size, (y - fromY) / fingers.size);
      draw(plot);
    }
    fingers.set(event.pointerId, [x, y]);
  });
  const lift = (event) => {
    if (!fingers.delete(event.pointerId)) return;
    const line = plot.line;
    plot.line = null;
    if (line && line.length > 2) state.set({ selected: new Set(caught(line, drawn(plot))), hover: null });
    else if (plot.moved < 5) look(plot, ...at(event));
    drawOver(plot);
  };
  over.addEventListener("pointerup", lift);
  over.addEventListener("pointercancel", lift);
  over.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !fingers.size && state.set({ hover: null }));
  over.addEventListener("wheel", (event) => {
    if (document.activeElement !== over && !event.ctrlKey) return; // a page that scrolls must not be caught by its picture
    event.preventDefault();
    zoom(plot, Math.exp(Math.sign(event.deltaY) * Math.min(0.3, Math.abs(event.deltaY) / 400)), ...at(event));
    draw(plot);
  }, { passive: false });
  over.addEventListener("keydown", (event) => {
    if (press(plot, event.key)) event.preventDefault();
  });
}

function look(plot, x, y) {
  const found = nearest(plot, x, y);
  const hover = plot.state.get("hover");
  if (found?.net !== hover?.net || found?.point !== hover?.point) plot.state.set({ hover: found });
}

function pinch(plot, fingers, moving, x, y) {
  const other = [...fingers].find(([id]) => id !== moving)[1];
  const before = Math.hypot(fingers.get(moving)[0] - other[0], fingers.get(moving)[1] - other[1]);
  const now = Math.hypot(x - other[0], y - other[1]);
  if (before > 0 && now > 0) zoom(plot, before / now, (x + other[0]) / 2, (y + other[1]) / 2);
}

const MOVES = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

// What a key does; true when it did something.
function press(plot, key) {
  const { state } = plot;
  if (MOVES[key]) pan(plot, ...MOVES[key]);
  else if (key === "+" || key === "=") zoom(plot, 0.8);
  else if (key === "-") zoom(plot, 1.25);
  else if (key === "0") reset(plot);
  else if (key === "n" || key === "p") step(plot, key === "n" ? 1 : -1);
  else if (key === "Enter" && state.get("hover")) toggle(state, state.get("hover").net);
  else if (key === "l") state.set({ lasso: !state.get("lasso") });
  else if (key === "Escape") state.set(state.get("hover") ? { hover: null } : { selected: new Set() });
  else return false;
  draw(plot);
  return true;
}

function step(plot, by) {
  const { nets, mask, points, state } = plot;
  let n = state.get("hover")?.net ?? (by > 0 ? -1 : 0);
  for (let tried = 0; tried < nets.count; tried++) {
    n = (n + by + nets.count) % nets.count;
    if (mask[n] && points.length[n]) {
      state.set({ hover: { net: n, point: -1 } });
      return;
    }
  }
}

function toggle(state, net) {
  const selected = new Set(state.get("selected"));
  if (!selected.delete(net)) selected.add(net);
  state.set({ selected });
}
