// What stands behind a row: its method's paper, entry and code, and the records of its runs.

const dialog = html("dialog", { "aria-labelledby": "dialog-title", onclick: (event) => event.target === dialog && dialog.close() });
document.body.append(dialog);

function showMethod(table, row) {
  const { name, method, runs } = table.rows[row], known = data("methods")[method], { rows } = data("runs"), addresses = data("addresses");
  const records = runs.map((at) => html("li", {}, addresses[at] ? html("a", { href: addresses[at] }, rows[at][0]) : rows[at][0]));
  const link = (address) => html("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, address.split("//")[1]);
  const entry = !known ? [html("p", {}, "This method is not installed where the page was made, so nothing is known of its paper and code.")] : [
    html("p", {}, known.summary),
    known.papers.length ? html("p", {}, "Paper: ", ...known.papers.flatMap((address, at) => [at ? ", " : "", link(address)])) : null,
    html("details", {}, html("summary", {}, "Catalogue entry"), ...known.entry.map((text) => (text.startsWith(" ") ? html("pre", {}, text) : html("p", {}, ...prose(text))))),
    html("details", {}, html("summary", {}, "Code, ", html("code", {}, known.file)), html("pre", {}, known.code),
      soft("As installed where the page was made.")),
  ];
  dialog.replaceChildren(
    html("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×"),
    html("h2", { id: "dialog-title" }, arrow(name)), ...entry.filter(Boolean),
    html("h3", {}, "Records"), html("ul", {}, ...records),
    html("p", {}, html("a", { href: new Settings("runs", new URLSearchParams({ filter: runs.map((at) => rows[at][0]).join(",") })).hash, onclick: () => dialog.close() }, "These in the tab of runs")));
  dialog.showModal();
}
