// Arrays as pictures: each feature map or filter is a tile, each number a square.
// Values are grey, from their lowest in black to their highest in white. Gradients are blue below 0, red above.
"use strict";

const MOST_TILES = 256; // of one picture; any other cell can still be reached by its index
const GAP = 3; // between tiles, in pixels of the page
const dark = window.matchMedia("(prefers-color-scheme: dark)");

// How an array is cut into tiles. Returns {count, rows, columns, cell, name}: cell(tile, row, column) gives the
// positions of a number along the axes that are held, or null where the last line of a vector has ended.
function tiling(tensor, store) {
  const held = indicesHeld(tensor, store);
  const lengths = held.map((indices) => indices.length);
  const names = (axis, position) => held[axis][position];
  if (tensor.shape.length === 4 && lengths[0] * lengths[1] * lengths[2] > 1) {
    return tensor.role === "parameter" ? filterTiles(lengths, names) : imageTiles(lengths, names);
  }
  const long = lengths.filter((length) => length > 1);
  if (tensor.shape.length === 2 && long.length === 2) {
    return { count: 1, rows: lengths[0], columns: lengths[1], cell: (_, i, j) => [i, j], name: () => "" };
  }
  return vectorTile(lengths);
}

// (N, H, W, C): a tile for each channel of each image.
function imageTiles([N, H, W, C], names) {
  return {
    count: N * C,
    rows: H,
    columns: W,
    cell: (tile, i, j) => [Math.floor(tile / C), i, j, tile % C],
    name: (tile) => `channel ${names(3, tile % C)}`,
  };
}

// (KH, KW, C, O): a tile for each input channel of each filter.
function filterTiles([KH, KW, C, O], names) {
  return {
    count: O * C,
    rows: KH,
    columns: KW,
    cell: (tile, i, j) => [i, j, tile % C, Math.floor(tile / C)],
    name: (tile) => `filter ${names(3, Math.floor(tile / C))}, channel ${names(2, tile % C)}`,
    together: C, // the channels of a filter stay in one line, where there is room
  };
}

// Anything else is read in its order, in lines of at most 40.
function vectorTile(lengths) {
  const size = lengths.reduce((product, length) => product * length, 1);
  const columns = Math.min(size, size % 10 === 0 && size > 20 ? 20 : 32);
  const rows = Math.min(Math.ceil(size / columns), 400);
  const cell = (_, i, j) => {
    let rest = i * columns + j;
    if (rest >= size) return null;
    const positions = [];
    for (const length of [...lengths].reverse()) {
      positions.unshift(rest % length);
      rest = Math.floor(rest / length);
    }
    return positions;
  };
  return { count: 1, rows, columns, cell, name: () => "" };
}

// Side of a cell in pixels, and tiles in a line, so that a picture fills the width without becoming too high.
function fit(tiles, count, width, height) {
  const inLine = (side) => {
    const room = Math.min(count, Math.floor((width + GAP) / (tiles.columns * side + GAP)));
    return room > tiles.together ? room - (room % tiles.together) : room;
  };
  for (const side of [22, 18, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1]) {
    const across = inLine(side);
    if (across && Math.ceil(count / across) * (tiles.rows * side + GAP) <= height) return { side, across };
  }
  return { side: Math.min(1, width / tiles.columns), across: Math.max(1, inLine(1)) };
}

// [red, green, blue] of a number. A gradient's scale is symmetric, so that 0 is always the colour of the paper.
function greyOf(value, [low, high]) {
  const share = high > low ? (value - low) / (high - low) : 0.5;
  const level = 20 + 225 * Math.min(Math.max(share, 0), 1);
  return [level, level, level];
}

function signColour(value, [low, high]) {
  const limit = Math.max(Math.abs(low), Math.abs(high)) || 1;
  const share = Math.sqrt(Math.min(Math.abs(value) / limit, 1)); // the root shows small gradients beside large ones
  const zero = dark.matches ? [36, 39, 44] : [247, 246, 243];
  const end = value < 0 ? (dark.matches ? [88, 166, 255] : [23, 92, 168]) : dark.matches ? [255, 107, 84] : [190, 30, 34];
  return zero.map((level, i) => level + (end[i] - level) * share);
}

function colourOf(value, range, isGradient) {
  if (!Number.isFinite(value)) return [214, 51, 214]; // NaN and infinity stand out
  return isGradient ? signColour(value, range) : greyOf(value, range);
}

// Paint numbers, row by row, as squares of `side` pixels at (left, top). read(row, column) gives a number or null.
function paintTile(context, rows, columns, read, range, isGradient, left, top, side) {
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const value = read(i, j);
      if (value === null) continue;
      image.data.set([...colourOf(value, range, isGradient), 255], 4 * (i * columns + j));
    }
  }
  drawScaled(context, image, left, top, side);
}

// Every pixel of an image as a square.
function drawScaled(context, image, left, top, side) {
  const small = new OffscreenCanvas(image.width, image.height);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = side < 1;
  context.drawImage(small, left, top, image.width * side, image.height * side);
}

// A canvas of that size in pixels of the page, as sharp as the screen.
function canvasOf(width, height, attributes = {}) {
  const sharpness = window.devicePixelRatio || 1;
  const canvas = element("canvas", attributes);
  canvas.width = Math.max(1, Math.round(width * sharpness));
  canvas.height = Math.max(1, Math.round(height * sharpness));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(sharpness, sharpness);
  return { canvas, context };
}

// A picture of a store in which a cell can be pointed at, walked to with the arrow keys, and chosen.
// choose(index) is called on a click or Enter; null if there is nothing to choose.
function picture(tensor, kind, width, choose) {
  const store = tensor[kind];
  const isGradient = kind === "gradient";
  const held = indicesHeld(tensor, store);
  const lengths = held.map((indices) => indices.length);
  const numbers = numbersOf(store);
  const tiles = tiling(tensor, store);
  const count = Math.min(tiles.count, MOST_TILES);
  const { side, across } = fit(tiles, count, width, count === 1 ? 320 : 420);
  const [stepX, stepY] = [tiles.columns * side + GAP, tiles.rows * side + GAP];
  const [lines, range] = [Math.ceil(count / across), store.range ?? [0, 0]];

  const { canvas, context } = canvasOf(across * stepX - GAP, lines * stepY - GAP, {
    class: choose ? "cells pickable" : "cells",
    tabindex: "0",
    role: "application",
    "aria-label": `${isGradient ? "Gradient" : "Value"} of ${tensor.name}, ${shapeText(tensor.shape)}: arrow keys move${
      choose ? ", Enter explains the cell" : ""
    }`,
  });
  for (let tile = 0; tile < count; tile++) {
    const read = (i, j) => {
      const positions = tiles.cell(tile, i, j);
      return positions && numbers[offsetOf(positions, lengths)];
    };
    const [left, top] = [(tile % across) * stepX, Math.floor(tile / across) * stepY];
    paintTile(context, tiles.rows, tiles.columns, read, range, isGradient, left, top, side);
  }

  const readout = element("output", { class: "readout", "aria-live": "polite" });
  const cursor = element("span", { class: "cursor", hidden: true });
  let at = { tile: 0, row: 0, column: 0 };

  function indexAt({ tile, row, column }) {
    const positions = tiles.cell(tile, row, column);
    return positions && positions.map((position, axis) => held[axis][position]);
  }
  function show(cell) {
    const index = indexAt(cell);
    if (!index) return;
    const name = tiles.name(cell.tile);
    readout.textContent = `${indexText(index)} = ${shown(elementAt(tensor, store, index), 5)}${name ? ` · ${name}` : ""}`;
    cursor.hidden = false;
    cursor.style.left = `${(cell.tile % across) * stepX + cell.column * side}px`;
    cursor.style.top = `${Math.floor(cell.tile / across) * stepY + cell.row * side}px`;
    cursor.style.width = cursor.style.height = `${side}px`;
  }
  function cellUnder(event) {
    const scale = canvas.getBoundingClientRect().width / (across * stepX - GAP);
    const [x, y] = [event.offsetX / scale, event.offsetY / scale];
    const tile = Math.floor(y / stepY) * across + Math.min(Math.floor(x / stepX), across - 1);
    const [row, column] = [Math.floor((y % stepY) / side), Math.floor((x % stepX) / side)];
    return tile < count && row < tiles.rows && column < tiles.columns ? { tile, row, column } : null;
  }
  function move(dx, dy) {
    // Over the whole sheet: past the edge of a tile comes its neighbour.
    let x = (at.tile % across) * tiles.columns + at.column + dx;
    let y = Math.floor(at.tile / across) * tiles.rows + at.row + dy;
    x = Math.min(Math.max(x, 0), across * tiles.columns - 1);
    y = Math.min(Math.max(y, 0), lines * tiles.rows - 1);
    const tile = Math.floor(y / tiles.rows) * across + Math.floor(x / tiles.columns);
    const next = { tile, row: y % tiles.rows, column: x % tiles.columns };
    if (tile < count && indexAt(next)) at = next;
    show(at);
  }
  const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("pointermove", (event) => {
    const cell = cellUnder(event);
    if (cell) show(cell);
  });
  canvas.addEventListener("pointerleave", () => {
    if (document.activeElement === canvas) show(at);
  });
  canvas.addEventListener("focus", () => show(at));
  canvas.addEventListener("click", (event) => {
    at = cellUnder(event) ?? at;
    show(at);
    if (choose && indexAt(at)) choose(indexAt(at));
  });
  canvas.addEventListener("keydown", (event) => {
    if (keys[event.key]) move(...keys[event.key]);
    else if (choose && (event.key === "Enter" || event.key === " ")) choose(indexAt(at));
    else return;
    event.preventDefault();
    event.stopPropagation(); // the arrows would otherwise also step through the passes
  });

  const notes = [];
  if (!store.whole) notes.push(`${plural(store.kept.indices.length, "channel")} of ${tensor.shape.at(-1)}, evenly chosen`);
  if (count < tiles.count) notes.push(`the first ${count} of ${tiles.count} tiles`);
  return element(
    "div",
    { class: "picture" },
    element("div", { class: "sheet" }, canvas, cursor),
    legend(range, isGradient),
    readout,
    notes.length ? element("p", { class: "note" }, `Shown: ${notes.join("; ")}.`) : null,
  );
}

// The scale of a picture, with its ends in numbers.
function legend([low, high], isGradient) {
  const limit = Math.max(Math.abs(low), Math.abs(high));
  const [from, to] = isGradient ? [-limit, limit] : [low, high];
  const { canvas, context } = canvasOf(96, 8, { "aria-hidden": "true" });
  for (let j = 0; j < 96; j++) {
    const [r, g, b] = colourOf(from + ((to - from) * j) / 95, [from, to], isGradient);
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(j, 0, 1, 8);
  }
  return element("div", { class: "legend" }, element("span", {}, shown(from, 3)), canvas, element("span", {}, shown(to, 3)));
}

// How the numbers are spread: a bar for each bin, the count of zeros beside it.
function histogram(store, label) {
  if (!store.histogram) return null;
  const { counts, edges } = store.histogram;
  const highest = Math.max(...counts, 1);
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${counts.length} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "histogram");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Histogram of ${label}`);
  counts.forEach((count, i) => {
    const bar = document.createElementNS(space, "rect");
    const height = count ? Math.max(19 * (count / highest), 0.4) : 0;
    const title = document.createElementNS(space, "title");
    title.textContent = `${shown(edges[i], 3)} to ${shown(edges[i + 1], 3)}: ${plural(count, "number")}`;
    for (const [name, value] of Object.entries({ x: i + 0.08, y: 20 - height, width: 0.84, height })) {
      bar.setAttribute(name, value);
    }
    bar.append(title);
    svg.append(bar);
  });
  return svg;
}
