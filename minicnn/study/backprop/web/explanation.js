// A gradient cell explained: the products as three little matrices, the window they come from, and the numbers in full.
"use strict";

// The explanation of a cell of input number `place` of a node. show(index) explains another cell in its place.
function explanationOf(node, place, index, show, close) {
  const tensor = tensors.get(node.inputs[place]);
  const explanation = explain(node, place, index);
  const content = explanation ? explained(node, tensor, index, explanation) : [unexplained(node, place, show)];
  return element(
    "section",
    { class: "explanation", "aria-label": `Where the gradient of ${tensor.name} at ${indexText(index)} comes from` },
    element(
      "header",
      {},
      element("h4", {}, "Where does this gradient come from?"),
      element("button", { class: "quiet", "aria-label": "Close the explanation", onclick: close }, "×"),
    ),
    indexInputs(tensor, index, show),
    ...content,
  );
}

const axisNames = { 4: ["n", "h", "w", "c"], 2: ["n", "i"], 1: ["o"] };
const weightAxisNames = { 4: ["kh", "kw", "c", "o"], 2: ["i", "o"], 1: ["o"] };

// A number field for each axis: the way to a cell for who cannot point at it.
function indexInputs(tensor, index, show) {
  const names = (tensor.role === "parameter" ? weightAxisNames : axisNames)[index.length] ?? [];
  const fields = index.map((position, axis) => {
    const input = element("input", {
      type: "number",
      min: 0,
      max: tensor.shape[axis] - 1,
      value: position,
      "aria-label": `Index ${names[axis] ?? axis}`,
      "data-axis": axis,
      onchange: (event) => {
        const chosen = Math.min(Math.max(Math.trunc(Number(event.target.value)) || 0, 0), tensor.shape[axis] - 1);
        show(index.with(axis, chosen), `[data-axis="${axis}"]`);
      },
    });
    return element("label", {}, element("span", {}, names[axis] ?? `axis ${axis}`), input);
  });
  return element("div", { class: "index" }, element("span", { class: "symbol" }, `∂L/∂ ${tensor.name}`), fields);
}

function explained(node, tensor, index, explanation) {
  const lens = element("div", { class: "lens", "aria-live": "polite" });
  const look = (term) => lens.replaceChildren(...windowLens(node, tensor, index, term));
  const strongest = strongestTerm(explanation);
  if (strongest) look(strongest);
  return [
    element("p", { class: "sentence" }, explanation.sentence),
    activationNote(node),
    equation(explanation),
    total(node, tensor, index, explanation),
    lens,
    groupsOf(explanation, look),
  ];
}

function activationNote(node) {
  const name = node.settings.activation;
  if (!name || !explainsActivation(node)) return null;
  const formulas = { relu: "f′ = 1 where y > 0, else 0", tanh: "f′ = 1 − y²", sigmoid: "f′ = y (1 − y)" };
  return element("p", { class: "sentence" }, `The activation ${name} is part of this layer, so the gradient is first `,
    `masked: dz = dy · f′(y), with ${formulas[name]}.`);
}

const explainsActivation = (node) => node.products === "conv2d" || node.products === "linear";

function strongestTerm({ groups }) {
  const windows = groups.flatMap((group) => group.terms).filter((term) => term.window);
  return windows.reduce((best, term) => (best && Math.abs(best.product) >= Math.abs(term.product) ? best : term), null);
}

// Left times right, number by number: a line for each group, a column for each term.
function equation({ factors, groups, total }) {
  const columns = Math.max(...groups.map((group) => group.terms.length), 0);
  if (columns * groups.length < 2) return null;
  const placed = groups.map((group) => {
    const line = Array(columns).fill(null);
    group.terms.forEach((term, k) => (line[Math.min(term.place ?? k, columns - 1)] = term));
    return line;
  });
  const matrix = (caption, read, isGradient) =>
    staticPicture(caption, placed.length, columns, (i, j) => placed[i][j] && read(placed[i][j]), isGradient);
  return element(
    "div",
    { class: "equation" },
    matrix(factors[0], (term) => term.left.value, factors[0].startsWith("d")),
    element("span", { class: "sign" }, "·"),
    matrix(factors[1], (term) => term.right.value, factors[1].startsWith("d")),
    element("span", { class: "sign" }, "="),
    matrix("products", (term) => term.product, true),
    element("span", { class: "sign" }, "Σ"),
    element("span", { class: "number strong" }, shown(total, 6)),
  );
}

// A small picture with a caption, for looking at only. mark: [row, column] of a cell to frame, box: of a rectangle.
function staticPicture(caption, rows, columns, read, isGradient, { width = 170, mark = null, box = null } = {}) {
  const side = Math.max(Math.min(Math.floor(width / columns), Math.floor(170 / rows), 18), Math.min(1, width / columns));
  const { canvas, context } = canvasOf(columns * side, rows * side, { "aria-hidden": "true" });
  const cells = range(rows).map((i) => range(columns).map((j) => read(i, j)));
  const present = cells.flat().filter((value) => value !== null && Number.isFinite(value));
  const scale = present.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
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

// The window in which a product was made, in x and as a row of the im2col matrix.
function windowLens(node, tensor, index, { window, left, right }) {
  const it = layer(node);
  const geometry = windowGeometry(it);
  const { i, j, n, channel } = window;
  const [top, start] = geometry.cell(i, j, 0, 0);
  const [bottom, end] = geometry.cell(i, j, geometry.KH - 1, geometry.KW - 1);
  const isInput = tensor.id === it.x.id;
  const cell = isInput ? [index[1], index[2]] : (left.name === "x" ? left : right).index.slice(1, 3);
  const inX = staticPicture(
    `x, channel ${channel}: window (${i}, ${j}) framed`,
    geometry.H,
    geometry.W,
    (h, v) => valueAt(it.x, n, h, v, channel) ?? null,
    false,
    { mark: window.winner ? [window.winner.h, window.winner.v] : cell, box: [top, start, bottom - top + 1, end - start + 1] },
  );
  const parts = [inX, windowNumbers(it, geometry, window, isInput && node.products === "conv2d")];
  if (node.products === "conv2d") parts.push(im2colRow(it, geometry, window, isInput));
  return parts;
}

// What im2col holds at (kh, kw, c) of a window; or, of its gradient dz @ w.T, the sum over the filters.
function columnEntry({ x, w, y, groups, ...settings }, geometry, { n, i, j, channel }, kh, kw, c, isGradient) {
  const group = Math.floor(channel / w.shape[2]);
  const [h, v] = geometry.cell(i, j, kh, kw);
  if (!isGradient) return geometry.inside(h, v) ? (valueAt(x, n, h, v, group * w.shape[2] + c) ?? null) : 0;
  const O = y.shape[3] / groups;
  return sum(
    range(O).map((k) => {
      const o = group * O + k;
      return outputGradient({ y, ...settings }, n, i, j, o).value * needed(valueAt(w, kh, kw, c, o));
    }),
  );
}

// The window of one channel in numbers, where it is small enough to be read.
function windowNumbers(it, geometry, window, isGradient) {
  const { KH, KW, cell, inside } = geometry;
  if (KH * KW > 49) return null;
  const marked = window.column === undefined ? null : Math.floor(window.column / it.w.shape[2]);
  const read = (kh, kw) => {
    if (it.w) return columnEntry(it, geometry, window, kh, kw, window.channel % it.w.shape[2], isGradient);
    const [h, v] = cell(window.i, window.j, kh, kw);
    return inside(h, v) ? valueAt(it.x, window.n, h, v, window.channel) : null;
  };
  const isMarked = (kh, kw) => {
    const [h, v] = cell(window.i, window.j, kh, kw);
    return window.winner ? window.winner.h === h && window.winner.v === v : marked === kh * KW + kw;
  };
  const rows = range(KH).map((kh) =>
    element("tr", {}, range(KW).map((kw) => {
      const value = read(kh, kw);
      return element("td", { class: isMarked(kh, kw) ? "marked" : null }, value === null ? "·" : shown(value, 2));
    })),
  );
  const caption = isGradient ? "what col2im adds at each of its cells" : "the window in numbers";
  return element("figure", { class: "small" }, element("div", { class: "scroll" }, element("table", { class: "window" }, rows)),
    element("figcaption", {}, caption));
}

// The whole window, all channels, as the row that im2col makes of it: line by line kh, in each kw, in each c.
function im2colRow(it, geometry, window, isGradient) {
  const { KH, KW } = geometry;
  const C = it.w.shape[2];
  if (KW * C > 512) return null;
  const marked = [Math.floor(window.column / (KW * C)), window.column % (KW * C)];
  const read = (kh, place) => columnEntry(it, geometry, window, kh, Math.floor(place / C), place % C, isGradient);
  const matrix = isGradient ? "dz @ w.T" : "im2col(x)";
  const caption = `row ${window.row} of ${matrix}, ${KH * KW * C} numbers in ${KH} lines; column ${window.column} framed`;
  return staticPicture(caption, KH, KW * C, read, isGradient, { mark: marked, width: 300 });
}

// The terms in numbers. Groups of many terms open when asked for.
function groupsOf({ groups, factors }, look) {
  const strongest = groups.reduce((best, group) => (Math.abs(group.subtotal) > Math.abs(best.subtotal) ? group : best), groups[0]);
  const single = groups.every((group) => group.terms.length === 1);
  if (single) return termTable(groups.map((group) => ({ ...group.terms[0], name: group.name })), factors, look);
  return element("div", { class: "groups" }, groups.map((group) => groupOf(group, factors, look, group === strongest)));
}

function groupOf(group, factors, look, isOpen) {
  const summary = element(
    "summary",
    {},
    element("span", {}, group.name),
    element("span", { class: "soft" }, plural(group.terms.length, "product")),
    element("span", { class: "number" }, shown(group.subtotal, 5)),
  );
  const details = element("details", { open: isOpen }, summary);
  const fill = () => {
    if (details.open && details.children.length === 1) details.append(termTable(group.terms, factors, look));
  };
  details.addEventListener("toggle", fill);
  fill();
  return details;
}

function termTable(terms, factors, look) {
  const rows = terms.map((term) =>
    element(
      "tr",
      {},
      element("td", {}, whereOf(term, look)),
      element("td", {}, factorText(term.left)),
      element("td", {}, factorText(term.right)),
      element("td", { class: "number" }, shown(term.product, 5)),
    ),
  );
  const heads = ["", ...factors, "product"].map((text) => element("th", { scope: "col" }, text));
  return element("div", { class: "scroll" }, element("table", { class: "terms" }, element("thead", {}, element("tr", {}, heads)),
    element("tbody", {}, rows)));
}

function whereOf(term, look) {
  const { window, name } = term;
  const text = name ?? (window ? `window (${window.i}, ${window.j})` : null);
  if (!window) return text ?? "";
  return element("button", { class: "link", title: "Show this window", onclick: () => look(term) }, text);
}

function factorText({ name, index, value, through }) {
  const place = index.length ? indexText(index) : "";
  const made = through ? ` = ${shown(through.dy)} · ${shown(through.slope)}` : "";
  return [element("span", { class: "soft" }, name + place + made + (index.length || through ? " = " : "")),
    element("span", { class: "number" }, index.length || through ? shown(value, 5) : "")];
}

// The sum beside the engine's own number; and, where others read the tensor too, what they added.
function total(node, tensor, index, { groups, total }) {
  const engine = gradientAt(tensor, ...index);
  const products = sum(groups.map((group) => group.terms.length));
  const others = readersOf(tensor.id).filter((reader) => reader !== node);
  const line = (name, value, attributes = {}) =>
    element("div", {}, element("dt", {}, name), element("dd", { class: "number", ...attributes }, value));
  const lines = [line(`Sum of ${plural(products, "product")}`, shown(total, 9), { "data-sum": total })];
  if (others.length) {
    const names = others.map((other) => titleOf(other)).join(", ");
    lines.push(line(`Parts through ${names}`, shown(engine - total, 6), { "data-others": engine - total }));
  }
  lines.push(line("The engine's gradient", shown(engine, 9), { "data-engine": engine }));
  if (!others.length) lines.push(line("Difference, by float32 rounding", shown(total - engine, 2)));
  return element("dl", { class: "total" }, lines);
}

// Who else handed a gradient to a tensor.
const readersOf = (id) => [...new Set((gradientSteps.get(id) ?? []).map((step) => timeline[step].node))];

// What is said where a tensor is too large for the page: the cells that Python has explained beforehand.
function unexplained() {
  return element(
    "p",
    { class: "sentence" },
    "This sum needs numbers of a large tensor that this page does not hold. Choose a channel that all of its tensors show, ",
    "or ask Python for the products of this cell.",
  );
}
