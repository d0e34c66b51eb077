// Which products made one gradient. The sums here are written as their definition is, index by index, from the numbers
// in the page; the engine computed the same gradient as one matrix product.
//
// An explanation is {sentence, groups, count, total, engine}: how many products there are, their sum, and the engine's
// number for it where the page knows that. A group is a window, or a line of them: {name, terms, subtotal}. A term
// is {factors, product, place}: each factor {name, index, value}, and place says where in x the product was made:
// {n, window: [i, j], row, column, channel}, row and column being those of the im2col matrix.
"use strict";

// Thrown where a sum needs a number of a large tensor that the page does not hold.
class NotInPage extends Error {}

function needed(value) {
  if (value === undefined) throw new NotInPage();
  return value;
}

// For each kind of layer the sums behind the gradients of its inputs, in their order.
const explainers = {
  conv2d: [convolutionInput, convolutionWeight, biasSum],
  linear: [linearInput, linearWeight, biasSum],
  max_pool2d: [maxPoolInput],
  avg_pool2d: [averagePoolInput],
  sum_pool2d: [sumPoolInput],
  adaptive_avg_pool2d: [adaptivePoolInput],
  relu: [elementwise],
  tanh: [elementwise],
  sigmoid: [elementwise],
};

// The cells of an input's gradient that Python has explained: of large tensors, and where the page has no sum.
const explainedCells = (node, place) => node.explained.filter((entry) => entry.input === place);

const canExplain = (node, place) => Boolean(explainers[node.products]?.[place]) || explainedCells(node, place).length > 0;

// What explains a gradient cell of input number `place` of a node: the sum itself, if the page holds its numbers; else
// what Python has written down of this cell; else null.
function explain(node, place, index) {
  const made = explainedCells(node, place).find((entry) => String(entry.index) === String(index));
  return fromTheNumbers(node, place, index) ?? (made ? explainedByPython(made) : null);
}

function fromTheNumbers(node, place, index) {
  const explainer = explainers[node.products]?.[place];
  if (!explainer) return null;
  try {
    const { sentence, groups } = explainer(layer(node), index);
    for (const group of groups) group.subtotal = sum(group.terms.map((term) => term.product));
    const count = sum(groups.map((group) => group.terms.length));
    return { sentence, groups, count, total: sum(groups.map((group) => group.subtotal)) };
  } catch (error) {
    if (error instanceof NotInPage) return null;
    throw error;
  }
}

function explainedByPython({ terms, count, total, rest, engine }) {
  const made = terms.map(({ factors, product, place }) => ({
    factors,
    product,
    place: null,
    name: place.window && `window (${place.window.join(", ")})`,
  }));
  const groups = [{ name: "the largest", terms: made, subtotal: total - rest }];
  const sentence =
    count > terms.length
      ? `Of ${count} products these are the ${terms.length} largest; the others add up to ${shown(rest, 5)}.`
      : `The gradient is a sum of ${plural(count, "product")}.`;
  return { sentence, groups, count, total, engine };
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const range = (length) => Array.from({ length }, (_, i) => i);

// The tensors of a node and its settings, under the letters of the formulas.
function layer(node) {
  const [x, w, b] = node.inputs.map((id) => tensors.get(id));
  return { x, w, b, y: tensors.get(node.output), ...node.settings, kind: node.products };
}

function term(factors, place = null) {
  return { factors, place, product: factors.reduce((product, factor) => product * factor.value, 1) };
}

const number = (name, tensor, ...index) => ({ name, index, value: needed(valueAt(tensor, ...index)) });

// The gradient in the layer's result; and where the layer ends in an activation, the slope it is multiplied with.
function outputGradient({ y, activation }, ...index) {
  const dy = { name: "dy", index, value: needed(gradientAt(y, ...index)), isGradient: true };
  return activation ? [dy, slope(activation, y, index)] : [dy];
}

// The derivative of an activation, written in terms of its result y.
const derivatives = { relu: (y) => (y > 0 ? 1 : 0), tanh: (y) => 1 - y * y, sigmoid: (y) => y * (1 - y) };
const slope = (activation, y, index) => ({
  name: `${activation}′`,
  index: [],
  value: derivatives[activation](needed(valueAt(y, ...index))),
});

// Convolution

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

// dx[n, h, v, c] = sum over the windows (i, j) that cover the cell, and over o, of dy[n, i, j, o] · w[kh, kw, c, o]
function convolutionInput(layer, [n, h, v, channel]) {
  const { w, y, groups } = layer;
  const { KW, OH, OW, covering } = windowGeometry(layer);
  const [C, O] = [w.shape[2], y.shape[3] / groups];
  const [group, c] = [Math.floor(channel / C), channel % C];
  const made = covering(h, v).map(({ i, j, kh, kw }) => {
    const place = { n, window: [i, j], row: (n * OH + i) * OW + j, column: (kh * KW + kw) * C + c, channel };
    const terms = range(O).map((k) => {
      const o = group * O + k;
      return term([...outputGradient(layer, n, i, j, o), number("w", w, kh, kw, c, o)], place);
    });
    return { name: `window (${i}, ${j})`, terms };
  });
  const sentence =
    `${covered(made)} In each it met another weight of each filter. The matrix product dy @ w.T gives the part of a ` +
    "window, and col2im adds up the parts.";
  return { sentence, groups: made };
}

const covered = (groups) => `${plural(groups.length, "window")} cover${groups.length === 1 ? "s" : ""} this cell.`;

// dw[kh, kw, c, o] = sum over n, i, j of x[n, h, v, c] · dy[n, i, j, o]
function convolutionWeight(layer, [kh, kw, c, o]) {
  const { x, w, y, groups } = layer;
  const { KW, OH, OW, cell, inside } = windowGeometry(layer);
  const C = w.shape[2];
  const channel = Math.floor(o / (y.shape[3] / groups)) * C + c; // with groups a filter sees C channels of its own
  const column = (kh * KW + kw) * C + c;
  const lines = range(x.shape[0] * OH).map((line) => {
    const [n, i] = [Math.floor(line / OH), line % OH];
    const terms = range(OW).flatMap((j) => {
      const [h, v] = cell(i, j, kh, kw);
      if (!inside(h, v)) return [];
      const place = { n, window: [i, j], row: (n * OH + i) * OW + j, column, channel };
      return [term([number("x", x, n, h, v, channel), ...outputGradient(layer, n, i, j, o)], place)];
    });
    return { name: `windows (${i}, …)`, terms };
  });
  const made = lines.filter((line) => line.terms.length);
  const [windows, met] = [x.shape[0] * OH * OW, sum(made.map((line) => line.terms.length))];
  const sentence =
    `This weight met one cell of x in each of ${plural(windows, "window")}: column ${column} of im2col(x). ` +
    `Its gradient is that column times column ${o} of dy` +
    (met < windows ? `; in ${plural(windows - met, "window")} it met padding, which adds 0.` : ".");
  return { sentence, groups: made };
}

// db[o] = sum of dy[..., o]: a bias is added at every place, as if it were the weight of an input of 1.
function biasSum(layer, [o]) {
  const places = layer.y.shape.slice(0, -1); // (N, OH, OW), or (N,) of a linear layer
  const across = places.at(-1);
  const lines = places.slice(0, -1).reduce((product, length) => product * length, 1);
  const groups = range(lines).map((line) => {
    const before = places.length === 3 ? [Math.floor(line / places[1]), line % places[1]] : [];
    const terms = range(across).map((j) => term(outputGradient(layer, ...before, j, o)));
    return { name: places.length === 3 ? `line ${before[1]} of the output` : "all samples", terms };
  });
  return { sentence: "A bias is added to every place of its channel, so its gradient is the sum of theirs.", groups };
}

// Linear

// dx[n, i] = sum over o of dy[n, o] · w[i, o]
function linearInput(layer, [n, i]) {
  const terms = range(layer.w.shape[1]).map((o) => term([...outputGradient(layer, n, o), number("w", layer.w, i, o)]));
  const sentence = `Every output read this input, each with a weight of its own: row ${i} of w.`;
  return { sentence, groups: [{ name: "all outputs", terms }] };
}

// dw[i, o] = sum over n of x[n, i] · dy[n, o]
function linearWeight(layer, [i, o]) {
  const terms = range(layer.x.shape[0]).map((n) => term([number("x", layer.x, n, i), ...outputGradient(layer, n, o)]));
  const sentence =
    "A weight is used once for each sample. With one sample its gradient is one product: what went in, times the " +
    "gradient of what came out.";
  return { sentence, groups: [{ name: "all samples", terms }] };
}

// Pooling. A group is a window on the cell, with one term.

function poolGroups(layer, geometry, [n, h, v, c], factorsOf) {
  return geometry.covering(h, v).map(({ i, j }) => {
    const place = { n, window: [i, j], channel: c };
    return { name: `window (${i}, ${j})`, terms: [term([...outputGradient(layer, n, i, j, c), ...factorsOf(i, j, place)], place)] };
  });
}

// dx at a cell = sum of dy over the windows in which the cell won
function maxPoolInput(layer, index) {
  const geometry = windowGeometry(layer);
  const [n, h, v, c] = index;
  const groups = poolGroups(layer, geometry, index, (i, j, place) => {
    place.winner = winnerOf(layer, geometry, n, i, j, c);
    const won = place.winner[0] === h && place.winner[1] === v;
    return [{ name: won ? "won" : "lost", index: [], value: won ? 1 : 0 }];
  });
  const sentence =
    `${covered(groups)} A window hands its whole gradient to the cell that won, on ties to the first in row-major ` +
    "order, and nothing to the others.";
  return { sentence, groups };
}

// The largest cell of a window, as the engine finds it: the first of several in row-major order, NaN above all.
function winnerOf({ x }, { KH, KW, cell, inside }, n, i, j, c) {
  let best = null;
  for (const k of range(KH * KW)) {
    const [h, v] = cell(i, j, Math.floor(k / KW), k % KW);
    if (!inside(h, v)) continue;
    const value = needed(valueAt(x, n, h, v, c));
    if (!best || value > best.value || (Number.isNaN(value) && !Number.isNaN(best.value))) best = { value, at: [h, v] };
  }
  return best.at;
}

// dx at a cell = sum of dy / cells over the windows that cover it
function averagePoolInput(layer, index) {
  const geometry = windowGeometry(layer);
  const groups = poolGroups(layer, geometry, index, (i, j) => {
    const cells = cellsOf(layer, geometry, i, j);
    return [{ name: `1/${cells}`, index: [], value: 1 / cells }];
  });
  return { sentence: `${covered(groups)} A mean shares its gradient equally among the cells of its window.`, groups };
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

// The same with windows that share H rows among OH: window i covers those from floor(i H / OH) to ceil((i + 1) H / OH).
function adaptivePoolInput(layer, [n, h, v, c]) {
  const [sizes, outs] = [layer.x.shape, layer.y.shape];
  const along = (axis, cell) =>
    range(outs[axis]).flatMap((i) => {
      const [first, end] = [Math.floor((i * sizes[axis]) / outs[axis]), Math.ceil(((i + 1) * sizes[axis]) / outs[axis])];
      return first <= cell && cell < end ? [{ i, length: end - first }] : [];
    });
  const groups = along(1, h).flatMap((row) =>
    along(2, v).map((column) => {
      const cells = row.length * column.length;
      const share = { name: `1/${cells}`, index: [], value: 1 / cells };
      const terms = [term([...outputGradient(layer, n, row.i, column.i, c), share])];
      return { name: `window (${row.i}, ${column.i})`, terms };
    }),
  );
  return { sentence: `${covered(groups)} A mean shares its gradient equally among the cells of its window.`, groups };
}

// dx at a cell = sum of dy over the windows that cover it
function sumPoolInput(layer, index) {
  const groups = poolGroups(layer, windowGeometry(layer), index, () => []);
  return { sentence: `${covered(groups)} A sum hands its gradient to every cell of its window.`, groups };
}

// dx = dy · f′, number by number
function elementwise({ y, kind }, index) {
  const terms = [term([...outputGradient({ y }, ...index), slope(kind, y, index)])];
  return { sentence: "Each number went through the function alone, so it has one product.", groups: [{ name: "", terms }] };
}
