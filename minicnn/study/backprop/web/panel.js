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
          {
            class: `jump ${pass}`,
            "aria-current": number === now ? "step" : null,
            onclick: () => goTo(number),
          },
          `${pass}: ${stepName(number)}`,
        );
  const set = Object.entries(node.settings).filter(([, value]) => value !== null);
  return element(
    "header",
    { class: "node" },
    element("h2", {}, node.operation, element("span", { class: "module" }, node.module)),
    element(
      "p",
      { class: "jumps" },
      jump(valueSteps.get(node.output), "forward"),
      jump(backwardStepOf.get(node.id), "backward"),
    ),
    set.length
      ? element(
          "dl",
          { class: "settings" },
          set.map(([name, value]) =>
            element("div", {}, element("dt", {}, name), element("dd", {}, settingText(value))),
          ),
        )
      : null,
  );
}

const settingText = (value) =>
  Array.isArray(value) ? `(${value.map(settingText).join(", ")})` : String(value);

// What the node reads and writes in the step that the time line stands at, if the step is the node's.

function thisStep(node, now) {
  const step = timeline[now];
  if (step.node !== node) return "";
  const forward = step.pass === "forward";
  const reads = forward
    ? step.reads.map((id) => token(id, tensors.get(id).name, shapeText(tensors.get(id).shape)))
    : step.reads.map((id, k) =>
        k ? token(id, tensors.get(id).name, "kept from the forward pass") : gradientToken(id, now),
      );
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
  element(
    "li",
    { class: `token ${state}`, "data-tensor": id },
    element("span", { class: "name" }, name),
    element("span", { class: "soft" }, note),
  );

function gradientToken(id, now) {
  const { arrived, expected } = arrivals(id, now);
  const note =
    arrived === expected
      ? expected > 1
        ? `all ${expected} parts have arrived`
        : "arrived"
      : `${arrived} of ${expected} parts`;
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
    lines.length
      ? element("div", { class: `direction ${name}` }, element("h4", {}, name), lines.map(line))
      : null;
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
  return element(
    "details",
    { class: "docstring" },
    element("summary", {}, first),
    element("pre", { class: "scroll" }, rest.join("\n\n")),
  );
}

// The gradient check

function gradientCheck(node) {
  if (recording.unchecked) return element("p", { class: "sentence" }, `Not checked: ${recording.unchecked}.`);
  if (!node.gradcheck.length) return null;
  const heads = ["entry", "backward", "central difference", "relative error"].map((text) =>
    element("th", { scope: "col" }, text),
  );
  const kink = node.gradcheck.some((entry) => entry.kink);
  const alone = node.gradcheck.every((entry) => entry.through === "step"); // where the rest of the network takes too long
  return element(
    "div",
    {},
    element(
      "p",
      { class: "sentence" },
      "Each number is moved a little up and down, in float64; the change of ",
      alone ? "the sum of dy · y over this Function's result" : "the loss",
      ", divided by the distance, must be the part of the ",
      "gradient that this Function's backward returned.",
    ),
    element(
      "div",
      { class: "scroll", tabindex: "0" },
      element(
        "table",
        { class: "check" },
        element("thead", {}, element("tr", {}, heads)),
        element(
          "tbody",
          {},
          node.gradcheck.map((entry) => checkRow(node, entry)),
        ),
      ),
    ),
    kink
      ? element(
          "p",
          { class: "note" },
          "* The loss has a corner here (a ReLU at 0, a tie), where the slopes of the two ",
          "sides differ: backward may give any number between them.",
        )
      : null,
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
    element(
      "td",
      { class: `number ${wrong ? "wrong" : ""}` },
      `${shown(relative_error, 2)}${kink ? " *" : ""}`,
    ),
  );
}
