// The products behind the gradients of pooling: a group is a window on the cell, with one term.
"use strict";

function poolGroups(layer, geometry, [n, h, v, c], factorsOf) {
  return geometry.covering(h, v).map(({ i, j }) => {
    const place = { n, window: [i, j], channel: c };
    return {
      name: `window (${i}, ${j})`,
      terms: [term([...outputGradient(layer, n, i, j, c), ...factorsOf(i, j, place)], place)],
    };
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
    if (!best || value > best.value || (Number.isNaN(value) && !Number.isNaN(best.value)))
      best = { value, at: [h, v] };
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
  return {
    sentence: `${covered(groups)} A mean shares its gradient equally among the cells of its window.`,
    groups,
  };
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
      const [first, end] = [
        Math.floor((i * sizes[axis]) / outs[axis]),
        Math.ceil(((i + 1) * sizes[axis]) / outs[axis]),
      ];
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
  return {
    sentence: `${covered(groups)} A mean shares its gradient equally among the cells of its window.`,
    groups,
  };
}

// dx at a cell = sum of dy over the windows that cover it
function sumPoolInput(layer, index) {
  const groups = poolGroups(layer, windowGeometry(layer), index, () => []);
  return { sentence: `${covered(groups)} A sum hands its gradient to every cell of its window.`, groups };
}
