// The tensors of the chosen node: value and gradient as pictures, with what is to be said about all their numbers.
"use strict";

function tensorCards(node, now) {
  const ids = [...new Set([...node.inputs, node.output])];
  return ids.map((id) => tensorCard(node, tensors.get(id), now));
}

function tensorCard(node, tensor, now) {
  const place = node.inputs.indexOf(tensor.id);
  const role =
    tensor.id === node.output
      ? "what comes out"
      : ({ activation: "what comes in", input: "the sample" }[tensor.role] ?? tensor.role);
  const symbol = place >= 0 ? node.arguments[place] : "y";
  const slot = element("div", { class: "slot" });
  const show = (index, focus) => {
    const close = () => slot.replaceChildren();
    slot.replaceChildren(explanationOf(node, place, index, show, close));
    if (focus) slot.querySelector(focus)?.focus();
    else slot.scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  const explains = place >= 0 && tensor.gradient && canExplain(node, place);
  return element(
    "article",
    { class: "tensor", "data-tensor": tensor.id },
    element(
      "h4",
      {},
      symbol ? element("span", { class: "letter" }, symbol) : null,
      element("span", { class: "name" }, tensor.name),
      element("span", { class: "soft" }, role),
      element("span", { class: "shape" }, shapeText(tensor.shape)),
    ),
    element(
      "div",
      { class: "sides" },
      side(tensor, "value", now, null),
      side(tensor, "gradient", now, explains ? show : null),
    ),
    slot,
  );
}

// One half of a card: the picture of the value or the gradient, and what is to be said about all its numbers.
function side(tensor, kind, now, choose) {
  const store = tensor[kind];
  const title = element(
    "h5",
    {},
    kind === "value" ? "value" : "gradient",
    kind === "gradient" && store ? arrival(tensor.id, now) : null,
  );
  if (!store)
    return element(
      "div",
      { class: `side ${kind}` },
      title,
      element("p", { class: "note" }, "No gradient was asked for."),
    );
  return element(
    "div",
    { class: `side ${kind}` },
    title,
    picture(tensor, kind, pictureWidth(), choose),
    histogram(store, `the ${kind} of ${tensor.name}`),
    statistics(store),
    choose ? element("p", { class: "hint" }, "Choose a cell to see the products that made it.") : null,
  );
}

function arrival(id, now) {
  const state = gradientState(id, now);
  if (state === "none") return null;
  const { arrived, expected } = arrivals(id, now);
  const last = gradientSteps.get(id).at(-1);
  const text = {
    awaited: `awaited until ${stepName(last)}`,
    partial: `${arrived} of ${expected} parts arrived`,
    arrived: "arrived",
  }[state];
  return element("span", { class: `state ${state}` }, text);
}

function statistics(store) {
  const range = store.range ? `${shown(store.range[0])} … ${shown(store.range[1])}` : "no finite number";
  const facts = { range, mean: shown(store.mean), zeros: percent(store.zeros) };
  if (store.nonfinite) facts["not finite"] = store.nonfinite;
  return element(
    "dl",
    { class: "statistics" },
    Object.entries(facts).map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", { class: "number" }, value)),
    ),
  );
}

// Two pictures stand side by side where there is room.
function pictureWidth() {
  const room = panel.clientWidth - 34;
  return Math.floor(room > 560 ? (room - 28) / 2 : room);
}
