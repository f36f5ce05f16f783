// Colours: Okabe and Ito's for categories, stops of viridis and cividis for what has an order. Told apart by colour-blind readers.

const OKABE_ITO = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b5a800", "#8a8f98"];
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
export const UNKNOWN = [150, 150, 150];
const METAS = {
  "svm-linear-16": "#56b4e9",
  "svm-rbf-16": "#0072b2",
  "svm-linear-480": "#f0c04a",
  "svm-rbf-480": "#e69f00",
  tensors: "#009e73",
  dmc: "#d55e00",
};

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function along(stops, share) {
  const at = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  const [a, b] = [rgb(stops[low]), rgb(stops[low + 1])];
  return a.map((v, k) => Math.round(v + (b[k] - v) * (at - low)));
}

// The ends of viridis vanish on white or on black, so only its middle is used for points.
export function scale(share) {
  return Number.isNaN(share) ? UNKNOWN : along(VIRIDIS, 0.04 + 0.88 * share);
}

export function heat(share) {
  return Number.isNaN(share) ? UNKNOWN : along(CIVIDIS, share);
}

export function categoryColours(count, ordered) {
  if (ordered) return Array.from({ length: count }, (_, k) => scale(count > 1 ? k / (count - 1) : 0.5));
  return Array.from({ length: count }, (_, k) => rgb(OKABE_ITO[k % OKABE_ITO.length]));
}

export function metaColour(name, position) {
  return METAS[name] || OKABE_ITO[(position + 2) % OKABE_ITO.length];
}

export function css([r, g, b]) {
  return `rgb(${r},${g},${b})`;
}
