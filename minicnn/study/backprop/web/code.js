// The code of the chosen node: a tab for each direction of the Function, and for its kernels in each room.
"use strict";

function sourceTabs(node) {
  const groups = new Map();
  for (const { role, room, code } of node.sources) {
    const title = room ? `${role}s: ${room}` : role;
    groups.set(title, [...(groups.get(title) ?? []), recording.code[code]]);
  }
  if (!groups.size) return null;
  const pane = element("div", { class: "code", role: "tabpanel", tabindex: "0" });
  const tabs = [...groups].map(([title, sources], k) =>
    element("button", { role: "tab", id: `tab-${k}`, onclick: () => open(k) }, title, countOf(sources)),
  );
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

const countOf = (sources) =>
  sources.length > 1 ? element("span", { class: "soft" }, ` ${sources.length}`) : null;

// One piece of code. Of several, as a kernel is made of, the first is open.
function listing({ title, path, line, html }, place, all) {
  const code = element("pre", { class: "listing" });
  code.innerHTML = html;
  const head = [element("strong", {}, title), element("span", { class: "soft" }, `${path}, line ${line}`)];
  if (all.length === 1) return element("section", {}, element("h4", {}, head), code);
  return element("details", { open: place === 0 }, element("summary", {}, head), code);
}
