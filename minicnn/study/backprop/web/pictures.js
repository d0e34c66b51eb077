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
  const end =
    value < 0
      ? dark.matches
        ? [88, 166, 255]
        : [23, 92, 168]
      : dark.matches
        ? [255, 107, 84]
        : [190, 30, 34];
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
