// Elements from values. Text is set as text, never parsed: names come from data that strangers may have written.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function place(parent, ...children) {
  parent.replaceChildren(...children.flat().filter(Boolean));
  return parent;
}

export function choice(label, options, value, change) {
  const select = el("select", { onchange: () => change(select.value) }, options.map(([v, text]) => el("option", { value: v }, text)));
  select.value = value;
  return el("label", { class: "choice" }, el("span", {}, label), select);
}

// The colours and sizes of page.css, so that what is drawn on a canvas follows light and dark.
export function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
