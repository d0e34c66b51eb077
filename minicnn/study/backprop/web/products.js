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
  cross_entropy: [crossEntropyInput],
};

// The cells of an input's gradient that Python has explained: of large tensors, and where the page has no sum.
const explainedCells = (node, place) => node.explained.filter((entry) => entry.input === place);

const canExplain = (node, place) =>
  Boolean(explainers[node.products]?.[place]) || explainedCells(node, place).length > 0;

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

// Where the windows of a convolution or pooling lie.
function windowGeometry({ x, y, w, kernel_size, stride, padding, dilation = [1, 1] }) {
  const [H, W] = [x.shape[1], x.shape[2]];
  const [KH, KW] = w ? w.shape : kernel_size;
  const [OH, OW] = [y.shape[1], y.shape[2]];
  const [[top], [left]] = padding;
  return {
    H,
    W,
    KH,
    KW,
    OH,
    OW,
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
