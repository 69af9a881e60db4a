// A table that is sorted by its headings, filtered by the names of its rows, and saved as CSV.

const FIRST_ROWS = 200; // shown at once; a button shows all

// A column of a sortable table from its values. `print` makes the text of a value; a missing one is "-". More: `number` (aligned to the right, largest
// first), `wrap`, `long` (wrapped, and a sentence), `words` (wrapped where room is scarce), `tip` (what the column means), `link` (from a row to its address or to what a click does), and for each row `shades` (0 to 1),
// `best` (1 the best, 2 the second best) and `own` (framed).
const column = (name, values, { print = String, number = false, ...more } = {}) =>
  ({ name, values, number, cells: values.map((value) => (value === null ? "-" : print(value))), ...more });

// The order of the rows as they come, each reference line before the first with a worse score.
function placed(score, count, lines) {
  const order = [...Array(count - lines).keys()];
  for (let line = count - lines; line < count; line++) {
    const value = score?.values[line] ?? null, worse = (row) => score.values[row] === null || (score.better ?? 1) * (score.values[row] - value) < 0;
    const at = value === null ? -1 : order.findIndex(worse);
    order.splice(at < 0 ? order.length : at, 0, line);
  }
  return order;
}

// `head` is the number of the column that names the rows, `score` of the one that stays in sight beside it, `sort` the name of the order in the address,
// `lines` how many rows at the end are reference lines, which no filter hides; `file` names the CSV, `found` makes the text that a filter looks at.
function sortable(columns, { head = 0, score = -1, sort = "", lines = 0, file = "", found = (row) => columns[head].cells[row] } = {}) {
  const count = columns[0].cells.length, own = settings, usual = placed(columns[score], count, lines);
  let order = usual, by = "", fits = () => true, most = FIRST_ROWS;
  const stuck = (number) => (number === head ? "head" : number === score ? "score" : null);
  const classes = (...names) => names.filter(Boolean).join(" ") || null;
  const body = html("tbody");
  const heads = columns.map((column, number) => html("th", { scope: "col", class: classes(column.number && "number", stuck(number)), "aria-sort": "none" },
    explained(html("button", { type: "button", onclick: () => turn(column) }, arrow(column.name)), column.tip)));
  const rows = [], hidden = new Set(); // a row is made when it is first shown
  const line = (row) => {
    rows[row] ??= html("tr", { class: row >= count - lines ? "line" : null }, ...columns.map((column, number) => cell(column, row, number)));
    [...rows[row].children].forEach((child, number) => (child.hidden = hidden.has(number)));
    return rows[row];
  };

  function cell(column, row, number) {
    const text = arrow(column.cells[row]), words = breaking(text), target = column.link?.(row);
    const content = !target ? words : [html(...(typeof target === "string" ? ["a", { href: target }] : ["button", { type: "button", class: "link", onclick: target }]), ...words)];
    if (number === head) return html("th", { scope: "row", class: "head", style: `min-width:${Math.min(16, text.length)}ch` }, ...content);
    const shade = column.shades?.[row];
    const kinds = classes(column.number && "number", stuck(number), shade > 0 && "shaded", column.best?.[row] === 1 && "best", column.best?.[row] === 2 && "second",
      column.own?.[row] && "own", column.wrap && "wrap", column.long && "long", column.words && "words");
    return html("td", { class: kinds, style: shade > 0 && `--shade:${Math.round(55 * shade)}%` }, ...content);
  }
  const turn = ({ name, number }) => arrange(by === name ? `-${name}` : by === `-${name}` ? name : number ? `-${name}` : name);
  // Order the rows by a column, downwards with a "-" before its name.
  function arrange(wanted) {
    const at = columns.findIndex(({ name }) => name === wanted.replace(/^-/, ""));
    if (at >= 0) {
      const { values, number: numeric } = columns[at], side = wanted.startsWith("-") ? -1 : 1;
      by = wanted;
      order = usual.toSorted((a, b) => {
        const [first, second] = [values[a], values[b]];
        if (first === null || second === null) return (first === null) - (second === null);
        return side * (numeric ? first - second : String(first).localeCompare(String(second), "en", { numeric: true }));
      });
      if (sort) own.set(sort, by, "");
      heads.forEach((element, other) => element.setAttribute("aria-sort", other !== at ? "none" : side > 0 ? "ascending" : "descending"));
    }
    show();
  }
  const shown = () => order.filter((row) => row >= count - lines || fits(found(row)));
  const more = html("button", { type: "button", onclick: () => { most = Infinity; show(); } });
  function show() {
    const wanted = shown();
    body.replaceChildren(...wanted.slice(0, most).map(line));
    more.hidden = wanted.length <= most;
    more.textContent = `${most} of ${wanted.length} rows: show all`;
  }
  // What is shown, with all digits; a name that a spreadsheet would take for a formula gets a quote.
  function csv() {
    const kept = columns.filter((_, number) => !hidden.has(number)), quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const rows = [kept.map(({ name }) => name), ...shown().map((row) => kept.map(({ values }) => String(values[row] ?? "").replace(/^[=+@]/, "'$&")))];
    return rows.map((cells) => `${cells.map(quoted).join(",")}\n`).join("");
  }
  arrange(own.get(sort, ""));
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body);
  new ResizeObserver(() => table.style.setProperty("--beside", `${heads[head].offsetWidth}px`)).observe(heads[head]);
  const saving = html("button", { type: "button", class: "save", onclick: () => save(`${file}.csv`, "text/csv", csv()) }, "CSV");
  return {
    element: html("div", {}, html("div", { class: "scroll", tabindex: 0 }, table, more), file ? saving : null),
    filter(test) { fits = test; show(); },
    // Show only the columns for which `wanted` is true of their number.
    columns(wanted) {
      heads.forEach((element, number) => {
        element.hidden = !wanted(number);
        hidden[element.hidden ? "add" : "delete"](number);
      });
      show();
    },
  };
}
