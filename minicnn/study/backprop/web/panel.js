// What is known of the chosen node: its steps, mathematics, numbers, code, and the check of its gradients.
"use strict";

const panel = document.getElementById("panel");

function showNode(node, now, goTo) {
  panel.replaceChildren(
    heading(node, now, goTo),
    thisStep(node, now),
    section("Mathematics", formulas(node)),
    section("Numbers", tensorCards(node, now)),
    section("Code", sourceTabs(node)),
    section("Gradient check", gradientCheck(node)),
  );
}

function section(title, content) {
  if (!content) return "";
  return element("section", { class: "part" }, element("h3", {}, title), content);
}

// Heading

function heading(node, now, goTo) {
  const jump = (number, pass) =>
    number === undefined
      ? null
      : element(
          "button",
          { class: `jump ${pass}`, "aria-current": number === now ? "step" : null, onclick: () => goTo(number) },
          `${pass}: ${stepName(number)}`,
        );
  const set = Object.entries(node.settings).filter(([, value]) => value !== null);
  return element(
    "header",
    { class: "node" },
    element("h2", {}, node.operation, element("span", { class: "module" }, node.module)),
    element("p", { class: "jumps" }, jump(valueSteps.get(node.output), "forward"), jump(backwardStepOf.get(node.id), "backward")),
    set.length
      ? element("dl", { class: "settings" }, set.map(([name, value]) =>
          element("div", {}, element("dt", {}, name), element("dd", {}, settingText(value)))))
      : null,
  );
}

const settingText = (value) => (Array.isArray(value) ? `(${value.map(settingText).join(", ")})` : String(value));

// What the node reads and writes in the step that the time line stands at, if the step is the node's.

function thisStep(node, now) {
  const step = timeline[now];
  if (step.node !== node) return "";
  const forward = step.pass === "forward";
  const reads = forward
    ? step.reads.map((id) => token(id, tensors.get(id).name, shapeText(tensors.get(id).shape)))
    : step.reads.map((id, k) => (k ? token(id, tensors.get(id).name, "kept from the forward pass") : gradientToken(id, now)));
  const writes = forward
    ? step.writes.map((id) => token(id, tensors.get(id).name, shapeText(tensors.get(id).shape)))
    : [...new Set(step.writes)].map((id) => gradientToken(id, now));
  return element(
    "section",
    { class: `step ${step.pass}` },
    element("div", {}, element("h4", {}, "reads"), element("ul", {}, reads)),
    element("span", { class: "flow", "aria-hidden": "true" }, "→"),
    element("div", {}, element("h4", {}, "writes"), element("ul", {}, writes)),
  );
}

const token = (id, name, note, state = "") =>
  element("li", { class: `token ${state}`, "data-tensor": id }, element("span", { class: "name" }, name), element("span", { class: "soft" }, note));

function gradientToken(id, now) {
  const { arrived, expected } = arrivals(id, now);
  const note = arrived === expected ? (expected > 1 ? `all ${expected} parts have arrived` : "arrived") : `${arrived} of ${expected} parts`;
  return token(id, `∂L/∂ ${tensors.get(id).name}`, note, `gradient ${gradientState(id, now)}`);
}

// Mathematics. The MathML and, below, the code are made by this package from its own sources, names in it escaped.

function formulas(node) {
  const formula = recording.formulas[node.formula];
  if (!formula && !node.description) return null;
  const line = (html) => {
    const row = element("div", { class: "formula scroll", tabindex: "0" });
    row.innerHTML = html;
    return row;
  };
  const direction = (name, lines) =>
    lines.length ? element("div", { class: `direction ${name}` }, element("h4", {}, name), lines.map(line)) : null;
  return element(
    "div",
    { class: "mathematics" },
    formula ? direction("forward", [formula.forward, formula.where ?? []].flat()) : null,
    formula ? direction("backward", [formula.backward].flat()) : null,
    node.description ? docstring(node.description) : null,
  );
}

// What the operation says of itself; what is longer than a paragraph opens when asked for.
function docstring(text) {
  const [first, ...rest] = text.trim().split(/\n\s*\n/);
  if (!rest.length) return element("p", { class: "sentence" }, first);
  return element("details", { class: "docstring" }, element("summary", {}, first), element("pre", { class: "scroll" }, rest.join("\n\n")));
}

// Numbers

function tensorCards(node, now) {
  const ids = [...new Set([...node.inputs, node.output])];
  return ids.map((id) => tensorCard(node, tensors.get(id), now));
}

function tensorCard(node, tensor, now) {
  const place = node.inputs.indexOf(tensor.id);
  const role = tensor.id === node.output ? "what comes out" : { activation: "what comes in", input: "the sample" }[tensor.role] ?? tensor.role;
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
    element("h4", {}, symbol ? element("span", { class: "letter" }, symbol) : null, element("span", { class: "name" }, tensor.name),
      element("span", { class: "soft" }, role),
      element("span", { class: "shape" }, shapeText(tensor.shape))),
    element("div", { class: "sides" }, side(tensor, "value", now, null), side(tensor, "gradient", now, explains ? show : null)),
    slot,
  );
}

// One half of a card: the picture of the value or the gradient, and what is to be said about all its numbers.
function side(tensor, kind, now, choose) {
  const store = tensor[kind];
  const title = element("h5", {}, kind === "value" ? "value" : "gradient", kind === "gradient" && store ? arrival(tensor.id, now) : null);
  if (!store) return element("div", { class: `side ${kind}` }, title, element("p", { class: "note" }, "No gradient was asked for."));
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
  const text = { awaited: `awaited until ${stepName(last)}`, partial: `${arrived} of ${expected} parts arrived`, arrived: "arrived" }[state];
  return element("span", { class: `state ${state}` }, text);
}

function statistics(store) {
  const range = store.range ? `${shown(store.range[0])} … ${shown(store.range[1])}` : "no finite number";
  const facts = { range, mean: shown(store.mean), zeros: percent(store.zeros) };
  if (store.nonfinite) facts["not finite"] = store.nonfinite;
  return element("dl", { class: "statistics" }, Object.entries(facts).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", { class: "number" }, value))));
}

// Two pictures stand side by side where there is room.
function pictureWidth() {
  const room = panel.clientWidth - 34;
  return Math.floor(room > 560 ? (room - 28) / 2 : room);
}

// Code: a tab for each direction of the Function, and for its kernels in each room.

function sourceTabs(node) {
  const groups = new Map();
  for (const { role, room, code } of node.sources) {
    const title = room ? `${role}s: ${room}` : role;
    groups.set(title, [...(groups.get(title) ?? []), recording.code[code]]);
  }
  if (!groups.size) return null;
  const pane = element("div", { class: "code", role: "tabpanel", tabindex: "0" });
  const tabs = [...groups].map(([title, sources], k) =>
    element("button", { role: "tab", id: `tab-${k}`, onclick: () => open(k) }, title, countOf(sources)));
  function open(chosen) {
    tabs.forEach((tab, k) => {
      tab.setAttribute("aria-selected", k === chosen);
      tab.setAttribute("tabindex", k === chosen ? "0" : "-1");
    });
    pane.setAttribute("aria-labelledby", `tab-${chosen}`);
    pane.replaceChildren(...[...groups.values()][chosen].map(listing));
    pane.scrollTop = 0;
  }
  const list = element("div", { class: "tabs", role: "tablist", "aria-label": "Source code" }, tabs);
  list.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    const next = (tabs.indexOf(document.activeElement) + move + tabs.length) % tabs.length;
    open(next);
    tabs[next].focus();
    event.preventDefault();
  });
  open(0);
  return element("div", { class: "sources" }, list, pane);
}

const countOf = (sources) => (sources.length > 1 ? element("span", { class: "soft" }, ` ${sources.length}`) : null);

// One piece of code. Of several, as a kernel is made of, the first is open.
function listing({ title, path, line, html }, place, all) {
  const code = element("pre", { class: "listing" });
  code.innerHTML = html;
  const head = [element("strong", {}, title), element("span", { class: "soft" }, `${path}, line ${line}`)];
  if (all.length === 1) return element("section", {}, element("h4", {}, head), code);
  return element("details", { open: place === 0 }, element("summary", {}, head), code);
}

// The gradient check

function gradientCheck(node) {
  if (recording.unchecked) return element("p", { class: "sentence" }, `Not checked: ${recording.unchecked}.`);
  if (!node.gradcheck.length) return null;
  const heads = ["entry", "backward", "central difference", "relative error"].map((text) => element("th", { scope: "col" }, text));
  const kink = node.gradcheck.some((entry) => entry.kink);
  return element(
    "div",
    {},
    element("p", { class: "sentence" }, "Each number is moved a little up and down, in float64; the change of the loss, divided by ",
      "the distance, must be the part of the gradient that this Function's backward returned."),
    element("div", { class: "scroll", tabindex: "0" }, element("table", { class: "check" },
      element("thead", {}, element("tr", {}, heads)), element("tbody", {}, node.gradcheck.map((entry) => checkRow(node, entry))))),
    kink ? element("p", { class: "note" }, "* The loss has a corner here (a ReLU at 0, a tie), where the slopes of the two ",
      "sides differ: backward may give any number between them.") : null,
  );
}

function checkRow(node, { input, index, backward, difference, relative_error, kink }) {
  const wrong = !kink && !(relative_error < 1e-2);
  return element(
    "tr",
    {},
    element("td", {}, `${tensors.get(node.inputs[input]).name}${indexText(index)}`),
    element("td", { class: "number" }, shown(backward, 6)),
    element("td", { class: "number" }, shown(difference, 6)),
    element("td", { class: `number ${wrong ? "wrong" : ""}` }, `${shown(relative_error, 2)}${kink ? " *" : ""}`),
  );
}
