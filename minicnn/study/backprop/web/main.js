// The page as a whole: where the time line stands, which node is chosen, and the keys that move both.
"use strict";

const controls = Object.fromEntries(
  ["first", "back", "forward", "last", "slider", "now", "ledger"].map((id) => [
    id,
    document.getElementById(id),
  ]),
);
let now = 0;
let chosen = null;

// Move the time line, and look at the node that runs there.
function goTo(step) {
  now = Math.min(Math.max(step, 0), timeline.length - 1);
  paintGraph(now);
  paintControls();
  choose(timeline[now].node.id);
}

// Look at a node; the time line stays where it is.
function choose(id) {
  chosen = id;
  markChosen(id);
  showNode(nodes.get(id), now, goTo);
}

function paintControls() {
  const { pass, node } = timeline[now];
  controls.slider.value = now;
  controls.slider.setAttribute("aria-valuetext", `${stepName(now)}: ${titleOf(node)} ${pass}`);
  controls.first.disabled = controls.back.disabled = now === 0;
  controls.last.disabled = controls.forward.disabled = now === timeline.length - 1;
  controls.now.className = pass;
  controls.now.replaceChildren(
    element("span", { class: "count" }, `${now + 1} / ${timeline.length}`),
    element("span", { class: "pass" }, pass),
    element("strong", {}, node.operation),
    element("span", { class: "module" }, node.module),
  );
  paintLedger();
}

// Which gradients are there, and which are still awaited.
function paintLedger() {
  const asked = [...tensors.values()].filter((tensor) => gradientSteps.has(tensor.id));
  const states = ["arrived", "partial", "awaited"];
  const lists = states.map((state) => asked.filter((tensor) => gradientState(tensor.id, now) === state));
  const counts = states.map((state, k) =>
    element(
      "span",
      { class: `state ${state}`, "data-count": lists[k].length },
      `${lists[k].length} ${state === "partial" ? "in part" : state}`,
    ),
  );
  const summary = element("summary", {}, element("span", {}, "Gradients"), counts);
  const list = (state, k) =>
    lists[k].length
      ? element(
          "div",
          {},
          element("h4", {}, state === "partial" ? "in part" : state),
          element(
            "ul",
            {},
            lists[k].map((tensor) => gradientToken(tensor.id, now)),
          ),
        )
      : null;
  controls.ledger.replaceChildren(summary, ...states.map(list).filter(Boolean));
}

// The sample, in its own colours where all three are in the page, and what the network makes of it.

function paintSample() {
  const input = [...tensors.values()].find((tensor) => tensor.role === "input");
  if (!input || input.shape.length !== 4) return;
  const [, H, W] = input.shape;
  const [side, C] = [96 / Math.max(H, W), indicesHeld(input, input.value)[3].length];
  const [low, high] = input.value.range ?? [0, 1];
  const { canvas, context } = canvasOf(W * side, H * side, { role: "img", "aria-label": "The sample" });
  const image = new ImageData(W, H);
  for (let k = 0; k < H * W; k++) {
    const level = (c) =>
      (255 * (numbersOf(input.value)[k * C + (C === 3 ? c : 0)] - low)) / (high - low || 1);
    image.data.set([level(0), level(1), level(2), 255], 4 * k);
  }
  drawScaled(context, image, 0, 0, side);
  document.getElementById("sample").append(canvas);
}

function paintProbabilities() {
  const { probabilities, label } = recording.sample;
  if (!probabilities) return;
  const order = probabilities.map((_, k) => k);
  const classes =
    order.length <= 10 ? order : order.sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 5);
  const bars = classes.map((k) => {
    const bar = element("span", { class: "bar" });
    bar.style.setProperty("--share", probabilities[k]);
    return element(
      "li",
      { class: k === label ? "label" : null },
      element("span", { class: "class" }, k),
      bar,
      element("span", { class: "number" }, likelihood(probabilities[k])),
    );
  });
  document.getElementById("probabilities").append(...bars);
}

const likelihood = (share) => (share > 0 && share < 5e-4 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

// Keys: left and right step, Home and End go to the ends; a field or picture with the focus keeps its own keys.
function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, canvas, [role=tablist], .scroll, .code")) return;
  const steps = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: timeline.length - 1 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  goTo(steps[event.key]);
}

function start() {
  controls.slider.max = timeline.length - 1;
  controls.slider.style.setProperty("--forward-share", backwardStart / Math.max(timeline.length, 1));
  controls.first.addEventListener("click", () => goTo(0));
  controls.back.addEventListener("click", () => goTo(now - 1));
  controls.forward.addEventListener("click", () => goTo(now + 1));
  controls.last.addEventListener("click", () => goTo(timeline.length - 1));
  controls.slider.addEventListener("input", () => goTo(Number(controls.slider.value)));
  document.addEventListener("keydown", onKey);
  // Gradients are painted on the colour of the paper, and pictures as wide as their place.
  const again = () => choose(chosen);
  dark.addEventListener("change", again);
  let width = panel.clientWidth;
  new ResizeObserver(() => {
    if (panel.clientWidth !== width) again();
    width = panel.clientWidth;
  }).observe(panel);
  makeGraphUsable(choose);
  paintSample();
  paintProbabilities();
  goTo(0);
}

start();
