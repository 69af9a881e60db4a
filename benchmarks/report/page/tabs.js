// Tabs: one panel is shown at a time; it is drawn when it is first shown.

const tabs = [...document.querySelectorAll("[role=tab]")], panels = new Map();

function content(name) {
  if (name === "overview") return overview();
  if (name === "runs") return runs();
  if (name === "failures") return failures();
  const table = data(name), number = name.split("-")[1];
  const parts = [leaderboard, gains, pairs, everySiteTask, curves, pareto, crossSite, newcomers, askedTasks, gallery, dataCard, baselines].map((draw) => draw(table, number));
  const title = html("header", {}, html("h2", {}, table.title), table.headline ? html("p", { class: "headline" }, arrow(table.headline)) : null);
  const head = [title, table.notes.length ? html("div", { class: "notes" }, ...table.notes.map((note) => html("p", {}, arrow(note)))) : null];
  return [[...head, ...parts.flatMap(([elements]) => elements)], parts.flatMap(([, listeners]) => listeners)];
}

function panel(name) {
  const [[head, ...rest], listeners] = content(name);
  const filter = listeners.length ? controls(filterField((fits) => listeners.forEach((one) => one.filter(fits)))) : null;
  return html("section", { id: `${name}-panel`, role: "tabpanel", "aria-labelledby": `tab-${name}`, tabindex: -1 }, head, filter, ...rest);
}

// Show the tab that the address names, as its settings say; a tab that is opened again is as it was left.
function show() {
  let [name, text = ""] = location.hash.slice(1).split("?");
  if (!document.getElementById(`tab-${name}`)) [name, text] = [tabs[0].id.slice(4), ""];
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen) tab.parentElement.scrollTop = tab.offsetTop - tab.parentElement.offsetTop - (tab.parentElement.clientHeight - tab.offsetHeight) / 2;
  }
  if (panels.get(name)?.settings.text !== new URLSearchParams(text).toString()) {
    panels.get(name)?.element.remove();
    settings = new Settings(name, text);
    const own = settings, element = panel(name);
    panels.set(name, { element, settings: own });
    document.querySelector("main").append(element);
  }
  for (const [other, { element }] of panels) element.hidden = other !== name;
}

for (const [number, tab] of tabs.entries()) {
  tab.addEventListener("click", () => (location.hash = panels.get(tab.id.slice(4))?.settings.hash ?? tab.id.slice(4)));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs[(number + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
}
addEventListener("hashchange", show);
show();
