// Tabs: one panel is shown at a time; it is drawn when it is first shown.

const tabs = [...document.querySelectorAll("[role=tab]")], panels = new Map();

function content(name) {
  if (name === "overview") return overview();
  if (name === "runs") return runs();
  if (name === "failures") return failures();
  const table = data(name), number = name.split("-")[1];
  const parts = [leaderboard, everySiteTask, curves, pareto, crossSite, newcomers, askedTasks, gallery, dataCard, baselines].map((draw) => draw(table, number));
  const head = [html("h2", {}, table.title), table.notes.length ? html("div", { class: "notes" }, ...table.notes.map((note) => html("p", {}, arrow(note)))) : null];
  return [[...head, ...parts.flatMap(([elements]) => elements)], parts.flatMap(([, listeners]) => listeners)];
}

function panel(name) {
  const [elements, listeners] = content(name);
  const input = html("input", { type: "search", placeholder: "part of a name", oninput: () => listeners.forEach((one) => one.filter(input.value)) });
  const filter = listeners.length ? controls(html("label", {}, "Filter rows", input)) : null;
  const [head, ...rest] = elements;
  return html("section", { id: `${name}-panel`, role: "tabpanel", "aria-labelledby": `tab-${name}`, tabindex: -1 }, head, filter, ...rest);
}

function show(name) {
  if (!document.getElementById(`tab-${name}`)) name = tabs[0].id.slice(4);
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  if (!panels.has(name)) {
    panels.set(name, panel(name));
    document.querySelector("main").append(panels.get(name));
  }
  for (const [other, element] of panels) element.hidden = other !== name;
}

for (const [number, tab] of tabs.entries()) {
  tab.addEventListener("click", () => (location.hash = tab.id.slice(4)));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs[(number + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
}
addEventListener("hashchange", () => show(location.hash.slice(1)));
show(location.hash.slice(1));
