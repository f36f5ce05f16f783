// Which points lie inside a drawn line.

// polygon: [[x, y], ...]; even-odd rule
export function inside(polygon, x, y) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i];
    const [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

// Nets with any of the candidates inside: candidates (net, x, y) in pixels. -> rising indices
export function caught(polygon, candidates) {
  const found = new Set();
  for (const [net, x, y] of candidates) if (!found.has(net) && inside(polygon, x, y)) found.add(net);
  return [...found].sort((a, b) => a - b);
}
