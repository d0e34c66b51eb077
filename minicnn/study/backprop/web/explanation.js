// A gradient cell explained: the products as little matrices, the window they come from, and the numbers in full.
"use strict";

// The explanation of a cell of input number `place` of a node. show(index) explains another cell in its place.
function explanationOf(node, place, index, show, close) {
  const tensor = tensors.get(node.inputs[place]);
  const explanation = explain(node, place, index);
  return element(
    "section",
    {
      class: "explanation",
      "aria-label": `Where the gradient of ${tensor.name} at ${indexText(index)} comes from`,
    },
    element(
      "header",
      {},
      element("h4", {}, "Where does this gradient come from?"),
      element("button", { class: "quiet", "aria-label": "Close the explanation", onclick: close }, "×"),
    ),
    indexInputs(tensor, index, show),
    explanation ? explained(node, tensor, index, explanation) : unexplained(node, place, show),
  );
}

const axisNames = { 4: ["n", "h", "v", "c"], 2: ["n", "i"] };
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
      onchange: ({ target }) => {
        const wanted = Math.min(Math.max(Math.trunc(Number(target.value)) || 0, 0), tensor.shape[axis] - 1);
        show(
          index.map((old, k) => (k === axis ? wanted : old)),
          `[data-axis="${axis}"]`,
        );
      },
    });
    return element("label", {}, element("span", {}, names[axis] ?? `axis ${axis}`), input);
  });
  return element(
    "div",
    { class: "index" },
    element("span", { class: "symbol" }, `∂L/∂ ${tensor.name}`),
    fields,
  );
}

function explained(node, tensor, index, explanation) {
  const lens = element("div", { class: "lens" });
  const look = (place) => lens.replaceChildren(...windowLens(node, tensor, index, place));
  const strongest = strongestPlace(explanation);
  if (strongest) look(strongest);
  return [
    element("p", { class: "sentence" }, explanation.sentence),
    activationNote(node),
    equation(explanation),
    total(node, tensor, index, explanation),
    strongest ? lens : null,
    groupsOf(explanation, look),
  ].filter(Boolean);
}

// What is said where the page does not find the products: the cells that Python has explained.
function unexplained(node, place, show) {
  const cells = explainedCells(node, place).map(({ index }) =>
    element("button", { class: "link", onclick: () => show(index) }, indexText(index)),
  );
  const known = cells.flatMap((cell, k) => [k ? ", " : " Explained are ", cell]);
  const text = explainers[node.products]?.[place]
    ? "The numbers behind this cell are not all in the page, which holds only parts of large tensors."
    : "Of this operation the page knows the products of some cells only.";
  return element("p", { class: "sentence" }, text, known, cells.length ? "." : null);
}

function activationNote({ products, settings }) {
  const formulas = {
    relu: "relu′ = 1 where y > 0, else 0",
    tanh: "tanh′ = 1 − y²",
    sigmoid: "sigmoid′ = y (1 − y)",
  };
  const formula = formulas[settings.activation ?? products];
  if (!formula) return null;
  const where = settings.activation
    ? "The activation is part of this layer: dy is first multiplied with its slope. "
    : "";
  return element("p", { class: "sentence soft" }, `${where}In terms of the result, ${formula}.`);
}

function strongestPlace({ groups }) {
  const placed = groups.flatMap((group) => group.terms).filter((term) => term.place);
  return placed.length
    ? placed.reduce((a, b) => (Math.abs(b.product) > Math.abs(a.product) ? b : a)).place
    : null;
}

// The factors number by number, a line for each group and a column for each term; and their products, added up.
function equation({ groups, total }) {
  const columns = Math.max(...groups.map((group) => group.terms.length), 0);
  const alike = groups.every((group) =>
    group.terms.every((term) => term.factors.length === groups[0].terms[0].factors.length),
  );
  if (columns * groups.length < 2 || !alike) return null;
  const lines = groups.map(({ terms }) => {
    const line = Array(columns).fill(null);
    // Windows that met padding are missing in a line: the others keep their columns.
    terms.forEach(
      (term, k) => (line[terms.length < columns && term.place ? term.place.window[1] % columns : k] = term),
    );
    return line;
  });
  const matrix = (caption, read, isGradient) =>
    staticPicture(caption, lines.length, columns, (i, j) => lines[i][j] && read(lines[i][j]), isGradient);
  const sign = (text) => element("span", { class: "sign" }, text);
  const factors = groups[0].terms[0].factors.flatMap(({ name, isGradient }, k) => [
    k ? sign("·") : null,
    matrix(/^(1\/|won|lost)/.test(name) ? "share" : name, (term) => term.factors[k].value, isGradient),
  ]);
  const products =
    groups[0].terms[0].factors.length > 1
      ? [sign("="), matrix("products", (term) => term.product, true)]
      : [];
  return element(
    "div",
    { class: "equation" },
    factors,
    products,
    sign("Σ ="),
    element("span", { class: "number strong" }, shown(total, 6)),
  );
}

// The terms in numbers. Groups of several terms open when asked for, the strongest by itself.
function groupsOf({ groups }, look) {
  if (!groups.length) return null;
  if (groups.every((group) => group.terms.length === 1)) {
    return termTable(
      groups.map((group) => ({ ...group.terms[0], name: group.name })),
      look,
    );
  }
  const strongest = groups.reduce((a, b) => (Math.abs(b.subtotal) > Math.abs(a.subtotal) ? b : a));
  return element(
    "div",
    { class: "groups" },
    groups.map((group) => groupOf(group, look, group === strongest)),
  );
}

function groupOf(group, look, isOpen) {
  const summary = element(
    "summary",
    {},
    element("span", {}, group.name),
    element("span", { class: "soft" }, plural(group.terms.length, "product")),
    element("span", { class: "number" }, shown(group.subtotal, 5)),
  );
  const details = element("details", { open: isOpen }, summary);
  const fill = () => {
    if (details.open && details.children.length === 1) details.append(termTable(group.terms, look));
  };
  details.addEventListener("toggle", fill);
  fill();
  return details;
}

function termTable(terms, look) {
  const windows = terms.some((term) => term.place || term.name);
  const rows = terms.map((term) =>
    element(
      "tr",
      {},
      windows ? element("td", {}, whereOf(term, look)) : null,
      term.factors.map((factor) => element("td", {}, factorText(factor))),
      element("td", { class: "number" }, shown(term.product, 5)),
    ),
  );
  const names = terms[0].factors.map(({ name }) => (/^(won|lost)/.test(name) ? "won?" : name));
  const heads = [...(windows ? ["made in"] : []), ...names, "product"].map((text) =>
    element("th", { scope: "col" }, text),
  );
  const table = element(
    "table",
    { class: "terms" },
    element("thead", {}, element("tr", {}, heads)),
    element("tbody", {}, rows),
  );
  return element("div", { class: "scroll", tabindex: "0" }, table);
}

function whereOf({ place, name }, look) {
  const text = name ?? `window (${place.window.join(", ")})`;
  if (!place) return text;
  return element("button", { class: "link", title: "Show this window", onclick: () => look(place) }, text);
}

function factorText({ name, index, value }) {
  const what = index.length ? name + indexText(index) : name;
  return [
    element("span", { class: "soft" }, `${what} = `),
    element("span", { class: "number" }, shown(value, 5)),
  ];
}

// The sum beside the engine's own number; and, where others read the tensor too, what they added.
function total(node, tensor, index, { count, total, ...explanation }) {
  const engine = gradientAt(tensor, ...index) ?? explanation.engine;
  const others = readersOf(tensor.id).filter((reader) => reader !== node);
  const line = (name, value, attributes = {}) =>
    element("div", {}, element("dt", {}, name), element("dd", { class: "number", ...attributes }, value));
  const lines = [line(`Sum of ${plural(count, "product")}`, shown(total, 9), { "data-sum": total })];
  const parts = arrivals(tensor.id, timeline.length).expected;
  if (parts > 1)
    lines.push(line(`Parts by way of ${others.map(titleOf).join(", ")}`, shown(engine - total, 6)));
  lines.push(line("The engine's gradient", shown(engine, 9), { "data-engine": engine }));
  if (parts <= 1) lines.push(line("Difference, from rounding to float32", shown(total - engine, 2)));
  return element("dl", { class: "total" }, lines);
}

// Who handed a part of the gradient to a tensor.
const readersOf = (id) => [...new Set((gradientSteps.get(id) ?? []).map((step) => timeline[step].node))];
