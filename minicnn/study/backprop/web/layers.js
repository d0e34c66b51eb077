// The products behind the gradients of layers with weights, of activations, and of the loss.
"use strict";

// Convolution

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

const covered = (groups) =>
  `${plural(groups.length, "window")} cover${groups.length === 1 ? "s" : ""} this cell.`;

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
  return {
    sentence: "A bias is added to every place of its channel, so its gradient is the sum of theirs.",
    groups,
  };
}

// Linear

// dx[n, i] = sum over o of dy[n, o] · w[i, o]
function linearInput(layer, [n, i]) {
  const terms = range(layer.w.shape[1]).map((o) =>
    term([...outputGradient(layer, n, o), number("w", layer.w, i, o)]),
  );
  const sentence = `Every output read this input, each with a weight of its own: row ${i} of w.`;
  return { sentence, groups: [{ name: "all outputs", terms }] };
}

// dw[i, o] = sum over n of x[n, i] · dy[n, o]
function linearWeight(layer, [i, o]) {
  const terms = range(layer.x.shape[0]).map((n) =>
    term([number("x", layer.x, n, i), ...outputGradient(layer, n, o)]),
  );
  const sentence =
    "A weight is used once for each sample. With one sample its gradient is one product: what went in, times the " +
    "gradient of what came out.";
  return { sentence, groups: [{ name: "all samples", terms }] };
}

// Activations

// dx = dy · f′, number by number
function elementwise({ y, kind }, index) {
  const terms = [term([...outputGradient({ y }, ...index), slope(kind, y, index)])];
  return {
    sentence: "Each number went through the function alone, so it has one product.",
    groups: [{ name: "", terms }],
  };
}

// The loss

// dlogits[n, k] = (p[n, k] − t[n, k]) · 1/N · dy, p being the softmax of the logits and t 1 at the label, else 0
function crossEntropyInput({ x, y }, [n, k]) {
  const { label } = recording.sample;
  if (!Number.isInteger(label)) throw new NotInPage();
  const [N, K] = x.shape;
  const logits = range(K).map((i) => needed(valueAt(x, n, i)));
  const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
  const p = powers[k] / sum(powers);
  const difference = { name: "p − t", index: [n, k], value: p - (k === label ? 1 : 0) };
  const terms = [term([difference, { name: `1/${N}`, index: [], value: 1 / N }, ...outputGradient({ y })])];
  const sentence =
    `The network gives class ${k} the probability ${shown(p, 5)}; right would be ${k === label ? 1 : 0}. ` +
    "The difference is the gradient: softmax and logarithm cancel.";
  return { sentence, groups: [{ name: "", terms }] };
}
