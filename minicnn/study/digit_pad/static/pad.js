// The digit pad: draws strokes, asks the server what the network makes of them, and shows the answer.
"use strict";

const pad = document.getElementById("pad");
const SIDE = Number(pad.dataset.side); // of the drawing that is sent, in pixels
const WIDTH = 0.075 * pad.width; // of the pen: digits of an ordinary size get strokes as thick as MNIST's
const STEP = pad.width / 28; // of the keyboard's pen
const GAP = 4; // between feature maps
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const context = pad.getContext("2d", { willReadFrequently: true });
const small = document.createElement("canvas"); // the drawing as it is sent
small.width = small.height = SIDE;
const bars = [...document.querySelectorAll("#probabilities li")];
const byId = (id) => document.getElementById(id);
let last = null; // the last answer

// Drawing

function place(event) {
  const { left, top, width, height } = pad.getBoundingClientRect();
  return [((event.clientX - left) / width) * pad.width, ((event.clientY - top) / height) * pad.height];
}

function line([x0, y0], [x1, y1]) {
  context.lineWidth = WIDTH;
  context.strokeStyle = context.fillStyle = "#fff";
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
  // The round end: browsers do not agree on whether a line without length has one, and a tap is such a line.
  context.beginPath();
  context.arc(x1, y1, WIDTH / 2, 0, 2 * Math.PI);
  context.fill();
  ask();
}

const strokes = new Map(); // where each pointer that is down was last: two fingers draw two lines

pad.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  pad.setPointerCapture(event.pointerId);
  strokes.set(event.pointerId, place(event));
  line(place(event), place(event));
});
pad.addEventListener("pointermove", (event) => {
  if (!strokes.has(event.pointerId)) return;
  const between = event.getCoalescedEvents?.() ?? [];
  for (const point of between.length ? between : [event]) {
    line(strokes.get(event.pointerId), place(point));
    strokes.set(event.pointerId, place(point));
  }
});
for (const end of ["pointerup", "pointercancel"]) {
  pad.addEventListener(end, (event) => strokes.delete(event.pointerId));
}

// The pen of the keyboard: a ring that the arrow keys move, and the space bar puts down and lifts.

const pen = { x: pad.width / 2, y: pad.height / 2, down: false };
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function showPen() {
  byId("pen").style.left = `${(100 * pen.x) / pad.width}%`;
  byId("pen").style.top = `${(100 * pen.y) / pad.height}%`;
  byId("pen").classList.toggle("down", pen.down);
}

pad.addEventListener("keydown", (event) => {
  const from = [pen.x, pen.y];
  if (event.key === " ") {
    pen.down = !pen.down;
  } else if (MOVES[event.key]) {
    pen.x = Math.min(Math.max(pen.x + MOVES[event.key][0] * STEP, 0), pad.width);
    pen.y = Math.min(Math.max(pen.y + MOVES[event.key][1] * STEP, 0), pad.height);
  } else {
    return;
  }
  event.preventDefault();
  if (pen.down) line(from, [pen.x, pen.y]);
  byId("pen").hidden = false;
  showPen();
});
pad.addEventListener("blur", () => {
  byId("pen").hidden = true;
  pen.down = false;
});

function clear() {
  context.clearRect(0, 0, pad.width, pad.height);
  strokes.clear();
  pen.down = false;
  showPen();
  ask();
}

byId("clear").addEventListener("click", clear);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
});

// Asking: one question at a time, and always about the newest drawing.

const panel = document.querySelector(".answer"); // aria-busy while a question is open
let changed = false;

// The ink of the drawing, a number from 0 to 255 for each pixel, row by row.
function pixels() {
  const target = small.getContext("2d", { willReadFrequently: true });
  target.clearRect(0, 0, SIDE, SIDE);
  target.imageSmoothingQuality = "high";
  target.drawImage(pad, 0, 0, SIDE, SIDE);
  return Array.from(target.getImageData(0, 0, SIDE, SIDE).data.filter((_, i) => i % 4 === 3));
}

async function ask() {
  changed = true;
  if (panel.ariaBusy === "true") return;
  panel.ariaBusy = "true";
  while (changed) {
    await new Promise(requestAnimationFrame); // all that is drawn before the next frame goes into one question
    changed = false;
    const drawing = pixels();
    if (!drawing.some(Boolean)) {
      show(null);
      continue;
    }
    try {
      show(await answerTo(drawing));
      byId("fault").textContent = "";
    } catch (error) {
      byId("fault").textContent = error.message;
    }
  }
  panel.ariaBusy = "false";
}

async function answerTo(drawing) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ pixels: drawing }) };
  const response = await fetch("/read", request).catch(() => {
    throw new Error("The server does not answer. Is it still running?");
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// Showing

function show(answer) {
  last = answer;
  const winner = answer ? answer.probabilities.indexOf(Math.max(...answer.probabilities)) : -1;
  bars.forEach((bar, k) => {
    const p = answer ? answer.probabilities[k] : 0;
    bar.style.setProperty("--share", p);
    bar.classList.toggle("winner", k === winner);
    bar.querySelector(".number").textContent = answer ? `${(100 * p).toFixed(1)} %` : "–";
  });
  const name = answer && bars[winner].querySelector(".name").textContent;
  say(answer ? `It reads ${name}` : "Nothing drawn yet");
  byId("layers").hidden = !answer;
  paint();
  if (answer) byId("time").textContent = `Forward and backward took ${answer.milliseconds.toFixed(1)} ms.`;
}

// Only what is new: a screen reader reads it aloud.
function say(words) {
  if (byId("verdict").textContent !== words) byId("verdict").textContent = words;
}

function paint() {
  for (const id of ["image", "slopes"]) byId(id).getContext("2d").clearRect(0, 0, 28, 28);
  if (!last) return;
  const image = mapOf(last.image, 0, greyOf);
  const slopes = mapOf(last.slopes, 0, signColour);
  const level = dark.matches ? 255 : 0;
  // The drawing shines through the gradient, so that one sees on which of its strokes a pixel lies.
  slopes.data.forEach((colour, i) => {
    if (i % 4 < 3) slopes.data[i] = colour + (0.3 * (level - colour) * image.data[i]) / 255;
  });
  byId("image").getContext("2d").putImageData(image, 0, 0);
  byId("slopes").getContext("2d").putImageData(slopes, 0, 0);
  const rows = rowsOf(last.layers);
  last.layers.forEach((layer, i) => paintLayer(layer, rows[i]));
}

// What stands above a layer's maps.
const words = (layer) => [layer.name, layer.kind, layer.shape.join(" × ")];

// A row for each layer; the old ones where the network has the same layers as before.
function rowsOf(layers) {
  const rows = byId("rows");
  const labels = JSON.stringify(layers.map(words));
  if (rows.dataset.labels !== labels) rows.replaceChildren(...layers.map(newRow));
  rows.dataset.labels = labels;
  return rows.children;
}

function newRow(layer) {
  const row = document.createElement("li");
  const what = document.createElement("div");
  what.className = "what";
  [...words(layer), ""].forEach((word, i) => {
    const part = document.createElement(i ? "span" : "b");
    part.textContent = word;
    what.append(part);
  });
  row.append(what, document.createElement("canvas"));
  return row;
}

function paintLayer(layer, row) {
  const hidden = layer.shape.at(-1) - layer.shown.at(-1);
  row.querySelector(".what").lastChild.textContent =
    `${layer.low.toPrecision(3)} to ${layer.high.toPrecision(3)}` + (hidden ? `, the first ${layer.shown.at(-1)}` : "");
  const vector = layer.shown.length === 1;
  const width = row.clientWidth;
  const [h, w, count] = vector ? [1, 1, layer.shown[0]] : layer.shown;
  const side = vector ? 14 : Math.max(1, Math.floor(76 / Math.max(h, w)));
  const gap = vector ? 1 : GAP;
  const [stepX, stepY] = [w * side + gap, h * side + gap];
  const across = Math.max(1, Math.min(count, Math.floor((width + gap - 2) / stepX)));
  const canvas = row.querySelector("canvas");
  canvas.width = across * stepX - gap + 2;
  canvas.height = Math.ceil(count / across) * stepY - gap + 2;
  const target = canvas.getContext("2d");
  target.imageSmoothingEnabled = false;
  target.fillStyle = getComputedStyle(row).borderBottomColor;
  const tile = document.createElement("canvas");
  [tile.width, tile.height] = [w, h];
  for (let k = 0; k < count; k++) {
    tile.getContext("2d").putImageData(mapOf(layer, k, greyOf), 0, 0);
    const [x, y] = [(k % across) * stepX + 1, Math.floor(k / across) * stepY + 1];
    target.fillRect(x - 1, y - 1, w * side + 2, h * side + 2); // a line around it, since white lies on white paper
    target.drawImage(tile, x, y, w * side, h * side);
  }
}

// One feature map (H, W) of a picture, or one number of a vector, in colour.
function mapOf(picture, k, colour) {
  picture.bytes ??= Uint8Array.from(atob(picture.levels), (letter) => letter.charCodeAt(0));
  const [h, w, count] = picture.shown.length === 1 ? [1, 1, picture.shown[0]] : picture.shown;
  const image = new ImageData(w, h);
  for (let i = 0; i < h * w; i++) {
    image.data.set([...colour(picture.bytes[i * count + k] / 255, picture), 255], 4 * i);
  }
  return image;
}

function greyOf(share) {
  const level = Math.round(255 * share);
  return [level, level, level];
}

// Blue below 0, red above, on a scale that is the same on both sides.
function signColour(share, { low, high }) {
  const value = (low + share * (high - low)) / (Math.max(Math.abs(low), Math.abs(high)) || 1);
  const zero = dark.matches ? [43, 47, 53] : [235, 232, 224];
  const end = value < 0 ? (dark.matches ? [88, 166, 255] : [23, 92, 168]) : dark.matches ? [255, 107, 84] : [190, 30, 34];
  return zero.map((level, i) => Math.round(level + (end[i] - level) * Math.abs(value)));
}

dark.addEventListener("change", paint);
window.addEventListener("resize", paint);
