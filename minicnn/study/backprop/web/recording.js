// The recording that Python wrote into this page: tensors, nodes, and the order in which they ran.
"use strict";

const recording = JSON.parse(document.getElementById("recording").textContent);
const tensors = new Map(recording.tensors.map((tensor) => [tensor.id, tensor]));
const nodes = new Map(recording.nodes.map((node) => [node.id, node]));

// The numbers of a store, decoded when they are first looked at. They lie in the page as base64 of little-endian
// float32, which is the order of every machine that a browser runs on today.
function numbersOf(store) {
  if (!store.numbers) {
    const bytes = Uint8Array.from(atob(store.data), (letter) => letter.charCodeAt(0));
    store.numbers = new Float32Array(bytes.buffer);
  }
  return store.numbers;
}

// For each axis the indices that a store holds: all of them, or of a large tensor a few channels of one axis.
function indicesHeld(tensor, store) {
  const axes = tensor.shape.map((length) => Array.from({ length }, (_, i) => i));
  if (!store.whole) axes[store.kept.axis] = store.kept.indices;
  return axes;
}

// The place of an element in a row-major array: ((i0 * n1 + i1) * n2 + i2) ...
function offsetOf(positions, lengths) {
  return positions.reduce((offset, position, axis) => offset * lengths[axis] + position, 0);
}

// One element of a store, or undefined where the page does not hold it.
function elementAt(tensor, store, index) {
  if (!store) return undefined;
  const lengths = [...tensor.shape];
  const positions = [...index];
  if (!store.whole) {
    const { axis, indices } = store.kept;
    positions[axis] = indices.indexOf(index[axis]);
    lengths[axis] = indices.length;
    if (positions[axis] < 0) return undefined;
  }
  return numbersOf(store)[offsetOf(positions, lengths)];
}

const valueAt = (tensor, ...index) => elementAt(tensor, tensor.value, index);
const gradientAt = (tensor, ...index) => elementAt(tensor, tensor.gradient, index);

// The page's words for numbers, shapes and indices.

function shown(number, digits = 4) {
  if (number === undefined || number === null) return "not in this page";
  if (!Number.isFinite(number)) return String(number);
  if (number === 0) return "0";
  const size = Math.abs(number);
  const text = size >= 1e6 || size < 1e-3 ? number.toExponential(digits - 1) : number.toPrecision(digits);
  return text.replaceAll("-", "−").replace("e+", "e");
}

const shapeText = (shape) => (shape.length ? shape.join("×") : "one number");
const indexText = (index) => `[${index.join(", ")}]`;
const percent = (share) => `${shown(100 * share, 3)} %`;
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// An HTML element. Text goes in as text and never as HTML, so no name of the model can become part of the page.
// A class and other attributes are named; `on...` are listeners; children that are null are left out.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}
