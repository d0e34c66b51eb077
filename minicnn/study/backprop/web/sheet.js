// The picture of a tensor in a card, its scale, and the histogram of its numbers.
"use strict";

// The value or the gradient of a tensor as a sheet of tiles, in which a cell can be pointed at, walked to with the arrow
// keys, and chosen: choose(index) is called on a click or Enter; null if there is nothing to choose.
class Sheet {
  constructor(tensor, kind, width, choose) {
    Object.assign(this, { tensor, kind, choose, store: tensor[kind], isGradient: kind === "gradient" });
    this.held = indicesHeld(tensor, this.store);
    this.tiles = tiling(tensor, this.store);
    this.count = Math.min(this.tiles.count, MOST_TILES);
    Object.assign(this, fit(this.tiles, this.count, width, this.count === 1 ? 320 : 420)); // side, across
    this.lines = Math.ceil(this.count / this.across);
    this.step = [this.tiles.columns * this.side + GAP, this.tiles.rows * this.side + GAP];
    this.width = this.across * this.step[0] - GAP;
    this.at = { tile: 0, row: 0, column: 0 };
    this.cursor = element("span", { class: "cursor", hidden: true });
    this.readout = element("output", { class: "readout", "aria-live": "polite" });
    this.canvas = this.paint();
    this.listen();
  }

  paint() {
    const { canvas, context } = canvasOf(this.width, this.lines * this.step[1] - GAP, {
      class: this.choose ? "cells pickable" : "cells",
      tabindex: "0",
      role: "application",
      "aria-label":
        `${this.isGradient ? "Gradient" : "Value"} of ${this.tensor.name}, ${shapeText(this.tensor.shape)}: ` +
        `arrow keys move${this.choose ? ", Enter explains the cell" : ""}`,
    });
    const lengths = this.held.map((indices) => indices.length);
    const numbers = numbersOf(this.store);
    for (let tile = 0; tile < this.count; tile++) {
      const read = (row, column) => {
        const positions = this.tiles.cell(tile, row, column);
        return positions && numbers[offsetOf(positions, lengths)];
      };
      const [left, top] = this.cornerOf(tile);
      const { rows, columns } = this.tiles;
      paintTile(context, rows, columns, read, this.range, this.isGradient, left, top, this.side);
    }
    return canvas;
  }

  get range() {
    return this.store.range ?? [0, 0];
  }

  cornerOf(tile) {
    return [(tile % this.across) * this.step[0], Math.floor(tile / this.across) * this.step[1]];
  }

  // The index in the tensor of a cell {tile, row, column}; null behind the end of a vector.
  indexAt({ tile, row, column }) {
    const positions = this.tiles.cell(tile, row, column);
    return positions && positions.map((position, axis) => this.held[axis][position]);
  }

  // Put the frame around a cell, and its index and number into words.
  show(cell) {
    const index = this.indexAt(cell);
    if (!index) return;
    const name = this.tiles.name(cell.tile);
    const value = shown(elementAt(this.tensor, this.store, index), 5);
    this.readout.textContent = `${indexText(index)} = ${value}${name ? ` · ${name}` : ""}`;
    const [left, top] = this.cornerOf(cell.tile);
    const { style } = this.cursor;
    this.cursor.hidden = false;
    style.left = `${left + cell.column * this.side}px`;
    style.top = `${top + cell.row * this.side}px`;
    style.width = style.height = `${this.side}px`;
  }

  cellUnder(event) {
    const scale = this.canvas.getBoundingClientRect().width / this.width;
    const [x, y] = [event.offsetX / scale, event.offsetY / scale];
    const tile =
      Math.floor(y / this.step[1]) * this.across + Math.min(Math.floor(x / this.step[0]), this.across - 1);
    const [row, column] = [
      Math.floor((y % this.step[1]) / this.side),
      Math.floor((x % this.step[0]) / this.side),
    ];
    const isCell = tile < this.count && row < this.tiles.rows && column < this.tiles.columns;
    return isCell ? { tile, row, column } : null; // null in the gap between tiles
  }

  // One cell further over the whole sheet: past the edge of a tile comes its neighbour.
  move(dx, dy) {
    const { rows, columns } = this.tiles;
    const clamped = (place, end) => Math.min(Math.max(place, 0), end - 1);
    const x = clamped((this.at.tile % this.across) * columns + this.at.column + dx, this.across * columns);
    const y = clamped(Math.floor(this.at.tile / this.across) * rows + this.at.row + dy, this.lines * rows);
    const tile = Math.floor(y / rows) * this.across + Math.floor(x / columns);
    const next = { tile, row: y % rows, column: x % columns };
    if (tile < this.count && this.indexAt(next)) this.at = next;
    this.show(this.at);
  }

  pick() {
    if (this.choose && this.indexAt(this.at)) this.choose(this.indexAt(this.at));
  }

  listen() {
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    this.canvas.addEventListener("pointermove", (event) => {
      const cell = this.cellUnder(event);
      if (cell) this.show(cell);
    });
    this.canvas.addEventListener("pointerleave", () => {
      if (document.activeElement === this.canvas) this.show(this.at);
    });
    this.canvas.addEventListener("focus", () => this.show(this.at));
    this.canvas.addEventListener("click", (event) => {
      this.at = this.cellUnder(event) ?? this.at;
      this.show(this.at);
      this.pick();
    });
    this.canvas.addEventListener("keydown", (event) => {
      if (keys[event.key]) this.move(...keys[event.key]);
      else if (event.key === "Enter" || event.key === " ") this.pick();
      else return;
      event.preventDefault();
      event.stopPropagation(); // the arrows would otherwise also step through the passes
    });
  }
}

// A sheet with its scale, and with what it leaves out of a large tensor.
function picture(tensor, kind, width, choose) {
  const sheet = new Sheet(tensor, kind, width, choose);
  const { store, tiles, count } = sheet;
  const notes = [];
  if (!store.whole) {
    notes.push(`${plural(store.kept.indices.length, "channel")} of ${tensor.shape.at(-1)}, evenly chosen`);
  }
  if (count < tiles.count) notes.push(`the first ${count} of ${tiles.count} tiles`);
  return element(
    "div",
    { class: "picture" },
    element("div", { class: "sheet" }, sheet.canvas, sheet.cursor),
    legend(sheet.range, sheet.isGradient),
    sheet.readout,
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
  return element(
    "div",
    { class: "legend" },
    element("span", {}, shown(from, 3)),
    canvas,
    element("span", {}, shown(to, 3)),
  );
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
