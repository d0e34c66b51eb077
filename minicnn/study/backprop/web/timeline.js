// The time line: every Function runs forward in the order in which it was called, then backward as the engine ran it.
"use strict";

const timeline = [
  ...recording.nodes.map((node) => ({ pass: "forward", node, reads: node.inputs, writes: [node.output] })),
  ...recording.backward.map((entry) => ({
    pass: "backward",
    node: nodes.get(entry.node),
    reads: entry.reads,
    writes: entry.writes.map((write) => write.tensor),
  })),
];
const backwardStart = recording.nodes.length;

// For each tensor the steps that compute its value and that add a part to its gradient. A tensor that several
// Functions read gets as many parts, and its gradient is whole when the last of them has come.
const valueSteps = new Map();
const gradientSteps = new Map();
timeline.forEach((step, number) => {
  for (const id of step.writes) {
    if (step.pass === "forward") valueSteps.set(id, number);
    else gradientSteps.set(id, [...(gradientSteps.get(id) ?? []), number]);
  }
});
// The backward pass starts with the gradient of the loss in itself, which is 1 and comes from no Function.
for (const tensor of tensors.values()) {
  if (tensor.role === "loss") gradientSteps.set(tensor.id, [backwardStart]);
}

const isComputed = (id, now) => !valueSteps.has(id) || valueSteps.get(id) <= now;

// How many parts of a gradient have come after step `now`, and how many will come in all (0: none is asked for).
function arrivals(id, now) {
  const steps = gradientSteps.get(id) ?? [];
  return { arrived: steps.filter((step) => step <= now).length, expected: steps.length };
}

// "none", "awaited", "partial" or "arrived".
function gradientState(id, now) {
  const { arrived, expected } = arrivals(id, now);
  if (expected === 0) return "none";
  if (arrived === 0) return "awaited";
  return arrived < expected ? "partial" : "arrived";
}

const stepName = (number) => `step ${number + 1}`;
