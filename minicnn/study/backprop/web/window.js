// The window in which a product was made: in x, in numbers, and as a row of the im2col matrix.
"use strict";

// A small picture with a caption, for looking at only. mark: [row, column] of a cell to frame; box: of a rectangle
// [row, column, height, width].
function staticPicture(
  caption,
  rows,
  columns,
  read,
  isGradient,
  { width = 170, mark = null, box = null } = {},
) {
  const room = panel.clientWidth < 560 ? width * 0.6 : width;
  const fitting = Math.min(room / columns, Math.min(room, 170) / rows, 18);
  const side = fitting > 1 ? Math.floor(fitting) : fitting;
  const { canvas, context } = canvasOf(columns * side, rows * side, { "aria-hidden": "true" });
  const cells = range(rows).map((i) => range(columns).map((j) => read(i, j)));
  const present = cells.flat().filter((value) => value !== null && Number.isFinite(value));
  const scale = present.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [Infinity, -Infinity],
  );
  paintTile(context, rows, columns, (i, j) => cells[i][j], scale, isGradient, 0, 0, side);
  const style = getComputedStyle(document.documentElement);
  const frame = (row, column, height, breadth, colour) => {
    context.strokeStyle = style.getPropertyValue(colour);
    context.lineWidth = 2;
    context.strokeRect(column * side, row * side, breadth * side, height * side);
  };
  if (box) frame(...box, "--forward");
  if (mark) frame(...mark, 1, 1, "--backward");
  return element("figure", { class: "small" }, canvas, element("figcaption", {}, caption));
}

// The window in which a product was made: in x, in numbers, and as a row of the im2col matrix.
function windowLens(node, tensor, index, place) {
  const it = layer(node);
  const geometry = windowGeometry(it);
  const { n, channel, winner } = place;
  const [i, j] = place.window;
  const [top, left] = geometry.cell(i, j, 0, 0);
  const [bottom, right] = geometry.cell(i, j, geometry.KH - 1, geometry.KW - 1);
  const isInput = tensor.id === it.x.id;
  const cell = winner ?? (isInput ? index.slice(1, 3) : geometry.cell(i, j, index[0], index[1]));
  const inX = staticPicture(
    `channel ${channel} of x, window (${i}, ${j}) framed${winner ? ", and the cell that won" : ""}`,
    geometry.H,
    geometry.W,
    (h, v) => valueAt(it.x, n, h, v, channel) ?? null,
    false,
    { mark: cell, box: [top, left, bottom - top + 1, right - left + 1] },
  );
  const isGradient = isInput && node.products === "conv2d";
  const parts = [inX, windowNumbers(it, geometry, place, cell, isGradient)];
  if (node.products === "conv2d") parts.push(im2colRow(it, geometry, place, isGradient));
  return parts.filter(Boolean);
}

// What the im2col matrix holds at (kh, kw, c) of a window; or, of its gradient dy @ w.T, the sum over the filters.
function columnEntry(it, geometry, { n, window, channel }, kh, kw, c, isGradient) {
  const { x, w, y, groups } = it;
  const [group, [h, v]] = [Math.floor(channel / w.shape[2]), geometry.cell(...window, kh, kw)];
  if (!isGradient) return geometry.inside(h, v) ? (valueAt(x, n, h, v, group * w.shape[2] + c) ?? null) : 0;
  const O = y.shape[3] / groups;
  const filters = range(O).map((k) => group * O + k);
  return sum(
    filters.map((o) => term([...outputGradient(it, n, ...window, o), number("w", w, kh, kw, c, o)]).product),
  );
}

// The window of one channel in numbers, where it is small enough to be read.
function windowNumbers(it, geometry, place, [markedRow, markedColumn], isGradient) {
  const { KH, KW, cell, inside } = geometry;
  if (KH * KW > 49) return null;
  const read = (kh, kw, h, v) => {
    if (isGradient) return columnEntry(it, geometry, place, kh, kw, place.channel % it.w.shape[2], true);
    return inside(h, v) ? valueAt(it.x, place.n, h, v, place.channel) : null;
  };
  const rows = range(KH).map((kh) =>
    element(
      "tr",
      {},
      range(KW).map((kw) => {
        const [h, v] = cell(...place.window, kh, kw);
        const value = read(kh, kw, h, v);
        const isMarked = h === markedRow && v === markedColumn;
        return element("td", { class: isMarked ? "marked" : null }, value === null ? "·" : shown(value, 2));
      }),
    ),
  );
  const caption = isGradient ? "what col2im adds at the cells of this window" : "the window in numbers";
  const table = element(
    "div",
    { class: "scroll", tabindex: "0" },
    element("table", { class: "window" }, rows),
  );
  return element("figure", { class: "small" }, table, element("figcaption", {}, caption));
}

// The whole window, all channels, as the row that im2col makes of it: for each kh, each kw, each c.
function im2colRow(it, geometry, place, isGradient) {
  const { KH, KW } = geometry;
  const C = it.w.shape[2];
  if (KW * C > 512) return null;
  const mark = [Math.floor(place.column / (KW * C)), place.column % (KW * C)];
  const read = (kh, k) => columnEntry(it, geometry, place, kh, Math.floor(k / C), k % C, isGradient);
  const matrix = isGradient ? "dy @ w.T" : "im2col(x)";
  const caption = `row ${place.row} of ${matrix}: ${KH * KW * C} numbers, here in ${KH} lines; column ${place.column} framed`;
  return staticPicture(caption, KH, KW * C, read, isGradient, { mark, width: 300 });
}
