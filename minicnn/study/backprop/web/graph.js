// The graph: its boxes and arrows show how far the two passes have come, and a box opens what is known of it.
"use strict";

const graphElement = document.querySelector("#graph svg");
const boxes = new Map(
  [...graphElement.querySelectorAll(".box.operation")].map((box) => [Number(box.dataset.key), box]),
);
const titleOf = (node) => (node.module ? `${node.operation} ${node.module}` : node.operation);
const backwardStepOf = new Map(
  timeline.flatMap((step, number) => (step.pass === "backward" ? [[step.node.id, number]] : [])),
);

// Boxes can be clicked and reached with the keyboard: Tab finds the chosen one, the arrows go up and down from it.
function makeGraphUsable(choose) {
  for (const [id, box] of boxes) {
    box.setAttribute("role", "button");
    box.setAttribute("tabindex", "-1");
    box.setAttribute("aria-label", titleOf(nodes.get(id)));
    box.addEventListener("click", () => choose(id));
  }
  const order = [...boxes.keys()];
  graphElement.addEventListener("keydown", (event) => {
    const box = event.target.closest(".box.operation");
    const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!box || !move) return;
    const next = order[order.indexOf(Number(box.dataset.key)) + move];
    event.preventDefault();
    if (next === undefined) return;
    choose(next);
    boxes.get(next).focus();
  });
}

// Set the classes that graph.css and page.css colour.
function paintGraph(now) {
  const { pass, node } = timeline[now];
  for (const arrow of graphElement.querySelectorAll(".arrow")) {
    const id = Number(arrow.dataset.tensor);
    const sent =
      arrow.dataset.reader === "" ? backwardStart : backwardStepOf.get(Number(arrow.dataset.reader));
    arrow.classList.toggle("computed", isComputed(id, now));
    arrow.classList.toggle("arrived", sent <= now && tensors.get(id).gradient !== null);
  }
  for (const leaf of graphElement.querySelectorAll(".leaf")) {
    leaf.classList.toggle("arrived", gradientState(Number(leaf.dataset.tensor), now) === "arrived");
  }
  for (const [id, box] of boxes) {
    const running = id === node.id;
    box.classList.toggle("computed", isComputed(nodes.get(id).output, now));
    box.classList.toggle("arrived", backwardStepOf.get(id) <= now);
    box.classList.toggle("running", running);
    box.classList.toggle("backward", running && pass === "backward");
    if (running) box.setAttribute("aria-current", "step");
    else box.removeAttribute("aria-current");
    paintParts(box, nodes.get(id).output, now);
  }
}

// "∂ 1/2" in a box whose result several others read: how many parts of its gradient have come.
function paintParts(box, tensor, now) {
  const { arrived, expected } = arrivals(tensor, now);
  let text = box.querySelector(".parts");
  if (!text && expected > 1) {
    text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    const title = box.querySelector(".title");
    text.setAttribute("class", "parts");
    text.setAttribute("x", -Number(title.getAttribute("x")));
    text.setAttribute("y", title.getAttribute("y"));
    box.append(text);
  }
  if (text) text.textContent = now >= backwardStart ? `∂ ${arrived}/${expected}` : "";
}

// Mark the chosen box, and bring it into sight within the graph's own scroll area (never moving the page).
function markChosen(id) {
  for (const [other, box] of boxes) {
    box.classList.toggle("chosen", other === id);
    box.setAttribute("aria-pressed", other === id);
    box.setAttribute("tabindex", other === id ? "0" : "-1");
  }
  const area = document.getElementById("graph");
  const [seen, box] = [area.getBoundingClientRect(), boxes.get(id).getBoundingClientRect()];
  const outside =
    box.top < seen.top + 40 ||
    box.bottom > seen.bottom - 40 ||
    box.left < seen.left ||
    box.right > seen.right;
  if (!outside) return;
  const top = box.top + box.height / 2 - seen.top - seen.height / 2;
  const left = box.left + box.width / 2 - seen.left - seen.width / 2;
  const near = Math.abs(top) < seen.height && !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  area.scrollBy({ top, left, behavior: near ? "smooth" : "instant" });
}
