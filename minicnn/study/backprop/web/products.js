// Which products made one gradient. The sums here are written as their definition is, index by index, from the numbers
// in the page; the engine computed the same gradient as one matrix product.
//
// An explanation is {sentence, factors: [names], groups, total}. A group is a window, or a line of windows:
// {name, terms, subtotal}; a term is {left, right, product, window} where left and right are factors {name, index, value},
// `through` in a factor says what an activation made of the gradient, and `window` where in x the product was made.
"use strict";

// Thrown where a sum needs a number of a large tensor that the page does not hold.
class NotInPage extends Error {}

function needed(value) {
  if (value === undefined) throw new NotInPage();
  return value;
}

// What explains a gradient cell of input number `place` of a node, or null where the page has no such explanation.
function explain(node, place, index) {
  const explainers = {
    conv2d: [convolutionInput, convolutionWeight, biasSum],
    linear: [linearInput, linearWeight, biasSum],
    max_pool2d: [maxPoolInput],
    avg_pool2d: [averagePoolInput],
    sum_pool2d: [sumPoolInput],
  };
  const explainer = explainers[node.products]?.[place];
  if (!explainer) return null;
  try {
    const explanation = explainer(layer(node), index);
    for (const group of explanation.groups) group.subtotal = sum(group.terms.map((term) => term.product));
    explanation.total = sum(explanation.groups.map((group) => group.subtotal));
    return explanation;
  } catch (error) {
    if (error instanceof NotInPage) return null;
    throw error;
  }
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

// The tensors of a node and its settings, under the letters of the formulas.
function layer(node) {
  const [x, w, b] = node.inputs.map((id) => tensors.get(id));
  return { x, w, b, y: tensors.get(node.output), ...node.settings };
}

// The gradient before the activation that is part of the layer: dz = dy · f′(y), with f′ written in terms of y.
const derivatives = { relu: (y) => (y > 0 ? 1 : 0), tanh: (y) => 1 - y * y, sigmoid: (y) => y * (1 - y) };

function outputGradient({ y, activation }, ...index) {
  const dy = needed(gradientAt(y, ...index));
  if (!activation) return { name: "dy", index, value: dy };
  const slope = derivatives[activation](needed(valueAt(y, ...index)));
  return { name: "dz", index, value: dy * slope, through: { dy, slope } };
}

const factor = (name, tensor, ...index) => ({ name, index, value: needed(valueAt(tensor, ...index)) });
const term = (left, right, window = null) => ({ left, right, product: left.value * right.value, window });
const range = (length) => Array.from({ length }, (_, i) => i);

// Where the windows of a convolution or pooling lie.
function windowGeometry({ x, y, w, kernel_size, stride, padding, dilation = [1, 1] }) {
  const [H, W] = [x.shape[1], x.shape[2]];
  const [KH, KW] = w ? w.shape : kernel_size;
  const [OH, OW] = [y.shape[1], y.shape[2]];
  const [[top], [left]] = padding;
  return {
    H, W, KH, KW, OH, OW,
    // The cell of x under position (kh, kw) of window (i, j); outside of x it is padding.
    cell: (i, j, kh, kw) => [i * stride[0] + kh * dilation[0] - top, j * stride[1] + kw * dilation[1] - left],
    inside: (h, v) => h >= 0 && h < H && v >= 0 && v < W,
    // The windows that cover cell (h, v) of x, each with the position at which it does.
    covering: (h, v) =>
      range(KH * KW).flatMap((k) => {
        const [kh, kw] = [Math.floor(k / KW), k % KW];
        const [i, j] = [(h + top - kh * dilation[0]) / stride[0], (v + left - kw * dilation[1]) / stride[1]];
        const fits = Number.isInteger(i) && Number.isInteger(j) && i >= 0 && i < OH && j >= 0 && j < OW;
        return fits ? [{ i, j, kh, kw }] : [];
      }),
  };
}

// dw[kh, kw, c, o] = sum over n, i, j of x[n, h, v, c] · dz[n, i, j, o]
function convolutionWeight(layer, [kh, kw, c, o]) {
  const { x, w, y, groups } = layer;
  const { KW, OH, OW, cell, inside } = windowGeometry(layer);
  const C = w.shape[2];
  const channel = Math.floor(o / (y.shape[3] / groups)) * C + c; // with groups a filter sees C channels of its own
  const column = (kh * KW + kw) * C + c;
  let padded = 0;
  const made = range(x.shape[0] * OH).map((line) => {
    const [n, i] = [Math.floor(line / OH), line % OH];
    const terms = range(OW).flatMap((j) => {
      const [h, v] = cell(i, j, kh, kw);
      if (!inside(h, v)) {
        padded += 1;
        return [];
      }
      const window = { n, i, j, row: (n * OH + i) * OW + j, column, channel };
      return [term(factor("x", x, n, h, v, channel), outputGradient(layer, n, i, j, o), window)];
    });
    return { name: `windows (${i}, 0…${OW - 1})`, terms };
  });
  const sentence =
    `This weight met one cell of x in each of ${plural(x.shape[0] * OH * OW, "window")}: column ${column} of im2col(x). ` +
    `Its gradient is that column times column ${o} of the gradient of the output` +
    (padded ? `; in ${plural(padded, "window")} it met padding, which adds 0.` : ".");
  return { sentence, factors: ["x", gradientName(layer)], groups: made.filter((group) => group.terms.length) };
}

// dx[n, h, v, c] = sum over the windows (i, j) that cover the cell, and over o, of dz[n, i, j, o] · w[kh, kw, c, o]
function convolutionInput(layer, [n, h, v, channel]) {
  const { w, y, groups } = layer;
  const { KW, OH, OW, covering } = windowGeometry(layer);
  const [C, O] = [w.shape[2], y.shape[3] / groups];
  const [group, c] = [Math.floor(channel / C), channel % C];
  const made = covering(h, v).map(({ i, j, kh, kw }) => {
    const column = (kh * KW + kw) * C + c;
    const window = { n, i, j, kh, kw, row: (n * OH + i) * OW + j, column, channel };
    const terms = range(O).map((k) => {
      const o = group * O + k;
      return term(outputGradient(layer, n, i, j, o), factor("w", w, kh, kw, c, o), window);
    });
    return { name: `window (${i}, ${j})`, terms };
  });
  const sentence =
    `${plural(made.length, "window")} cover${made.length === 1 ? "s" : ""} this cell. In each it met another weight of ` +
    `every filter; dz @ w.T gives the part of each window, and col2im adds the parts.`;
  return { sentence, factors: [gradientName(layer), "w"], groups: made };
}

// db[o] = sum of dz[..., o]: a bias is added at every place, as if it were the weight of an input of 1.
function biasSum(layer, [o]) {
  const places = layer.y.shape.slice(0, -1); // (N, OH, OW), or (N,) of a linear layer
  const across = places.at(-1);
  const lines = places.slice(0, -1).reduce((product, length) => product * length, 1);
  const groups = range(lines).map((line) => {
    const before = places.length === 3 ? [Math.floor(line / places[1]), line % places[1]] : [];
    const one = { name: "1", index: [], value: 1 };
    const terms = range(across).map((j) => term(outputGradient(layer, ...before, j, o), one));
    return { name: places.length === 3 ? `line ${before[1]} of the output` : "all samples", terms };
  });
  const sentence = "A bias is added to every place of its channel, so its gradient is the sum of theirs.";
  return { sentence, factors: [gradientName(layer), "1"], groups };
}

// dx[n, k] = sum over o of dz[n, o] · w[k, o]
function linearInput(layer, [n, k]) {
  const terms = range(layer.w.shape[1]).map((o) => term(outputGradient(layer, n, o), factor("w", layer.w, k, o)));
  const sentence = `Every output read this input, each with a weight of its own: row ${k} of w.`;
  return { sentence, factors: [gradientName(layer), "w"], groups: [{ name: "all outputs", terms }] };
}

// dw[k, o] = sum over n of x[n, k] · dz[n, o]
function linearWeight(layer, [k, o]) {
  const terms = range(layer.x.shape[0]).map((n) => term(factor("x", layer.x, n, k), outputGradient(layer, n, o)));
  const sentence =
    "This weight was used once for each sample: with one sample its gradient is one product, what went in times the " +
    "gradient of what came out.";
  return { sentence, factors: ["x", gradientName(layer)], groups: [{ name: "all samples", terms }] };
}

// dx at a cell = sum of dy over the windows in which the cell won
function maxPoolInput(layer, [n, h, v, c]) {
  const geometry = windowGeometry(layer);
  const groups = geometry.covering(h, v).map(({ i, j }) => {
    const winner = winnerOf(layer, geometry, n, i, j, c);
    const won = winner.h === h && winner.v === v;
    const window = { n, i, j, channel: c, winner };
    const left = { name: won ? "won" : "lost", index: [winner.h, winner.v], value: won ? 1 : 0 };
    return { name: `window (${i}, ${j})`, terms: [term(left, outputGradient(layer, n, i, j, c), window)] };
  });
  const sentence =
    `${plural(groups.length, "window")} cover${groups.length === 1 ? "s" : ""} this cell. A window hands its whole ` +
    "gradient to the cell that won, on ties to the first in row-major order, and nothing to the others.";
  return { sentence, factors: ["won", "dy"], groups };
}

// The largest cell of a window, as the engine finds it: the first of several in row-major order, NaN above all.
function winnerOf({ x }, { KH, KW, cell, inside }, n, i, j, c) {
  let best = null;
  for (const k of range(KH * KW)) {
    const [h, v] = cell(i, j, Math.floor(k / KW), k % KW);
    if (!inside(h, v)) continue;
    const value = needed(valueAt(x, n, h, v, c));
    if (!best || value > best.value || (Number.isNaN(value) && !Number.isNaN(best.value))) best = { h, v, value };
  }
  return best;
}

// dx at a cell = sum of dy / cells over the windows that cover it
function averagePoolInput(layer, [n, h, v, c]) {
  const geometry = windowGeometry(layer);
  const groups = geometry.covering(h, v).map(({ i, j }) => {
    const cells = cellsOf(layer, geometry, i, j);
    const share = { name: `1/${cells}`, index: [], value: 1 / cells };
    const window = { n, i, j, channel: c };
    return { name: `window (${i}, ${j})`, terms: [term(share, outputGradient(layer, n, i, j, c), window)] };
  });
  const sentence =
    `${plural(groups.length, "window")} cover${groups.length === 1 ? "s" : ""} this cell. A mean shares its gradient ` +
    "equally among the cells of its window.";
  return { sentence, factors: ["share", "dy"], groups };
}

// By how many cells the mean of window (i, j) was divided: those of x, and with count_include_pad those of the padding,
// but never those that ceil_mode added beyond it.
function cellsOf({ padding, count_include_pad }, { H, W, KH, KW, cell }, i, j) {
  const [top, left] = cell(i, j, 0, 0);
  const along = (start, length, size, [before, after]) => {
    const [low, high] = count_include_pad ? [-before, size + after] : [0, size];
    return Math.min(start + length, high) - Math.max(start, low);
  };
  return along(top, KH, H, padding[0]) * along(left, KW, W, padding[1]);
}

// dx at a cell = sum of dy over the windows that cover it
function sumPoolInput(layer, [n, h, v, c]) {
  const groups = windowGeometry(layer).covering(h, v).map(({ i, j }) => {
    const window = { n, i, j, channel: c };
    const whole = { name: "1", index: [], value: 1 };
    return { name: `window (${i}, ${j})`, terms: [term(whole, outputGradient(layer, n, i, j, c), window)] };
  });
  return { sentence: "A sum hands its gradient to every cell of its window.", factors: ["1", "dy"], groups };
}

const gradientName = ({ activation }) => (activation ? "dz" : "dy");
