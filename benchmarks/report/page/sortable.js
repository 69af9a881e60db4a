// A table that is sorted by its headings and filtered by the names of its rows.

const FIRST_ROWS = 200; // shown at once; a button shows all

// A column of a sortable table from its values. `print` makes the text of a value; a missing one is "-". More: `number` (aligned to the right, largest
// first), `wrap`, and for each row `shades` (0 to 1), `best` (1 the best, 2 the second best) and `own` (framed).
const column = (name, values, { print = String, number = false, ...more } = {}) =>
  ({ name, values, number, cells: values.map((value) => (value === null ? "-" : print(value))), ...more });

// `head` is the number of the column that names the rows.
function sortable(columns, head = 0) {
  const count = columns[0].cells.length;
  let order = [...Array(count).keys()], sorted = null, ascending = false, filter = "", most = FIRST_ROWS;
  const body = html("tbody");
  const heads = columns.map((column, number) =>
    html("th", { scope: "col", class: column.number && "number", "aria-sort": "none" },
      html("button", { type: "button", onclick: () => sort(number) }, arrow(column.name))));
  const rows = [], hidden = new Set(); // a row is made when it is first shown
  const line = (row) => {
    rows[row] ??= html("tr", {}, ...columns.map((column, number) => cell(column, row, number)));
    [...rows[row].children].forEach((child, number) => (child.hidden = hidden.has(number)));
    return rows[row];
  };

  function cell(column, row, number) {
    const text = arrow(column.cells[row]);
    if (number === head) return html("th", { scope: "row", style: `min-width:${Math.min(16, text.length)}ch` }, text);
    const shade = column.shades?.[row];
    const kinds = [column.number && "number", shade > 0 && "shaded", column.best?.[row] === 1 && "best", column.best?.[row] === 2 && "second", column.own?.[row] && "own", column.wrap && "wrap"];
    return html("td", { class: kinds.filter(Boolean).join(" ") || null, style: shade > 0 && `--shade:${Math.round(55 * shade)}%` }, text);
  }
  function sort(number) {
    const { values, number: numeric } = columns[number];
    ascending = sorted === number ? !ascending : !numeric;
    sorted = number;
    const side = ascending ? 1 : -1;
    order = [...Array(count).keys()].sort((a, b) => {
      const [first, second] = [values[a], values[b]];
      if (first === null || second === null) return (first === null) - (second === null);
      return side * (numeric ? first - second : String(first).localeCompare(String(second), "en", { numeric: true }));
    });
    heads.forEach((element, other) => element.setAttribute("aria-sort", other !== number ? "none" : ascending ? "ascending" : "descending"));
    show();
  }
  const more = html("button", { type: "button", onclick: () => { most = Infinity; show(); } });
  function show() {
    const shown = order.filter((row) => fits(columns[head].cells[row], filter));
    body.replaceChildren(...shown.slice(0, most).map(line));
    more.hidden = shown.length <= most;
    more.textContent = `${most} of ${shown.length} rows: show all`;
  }
  show();
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...heads)), body);
  return {
    element: html("div", { class: "scroll", tabindex: 0 }, table, more),
    filter(text) { filter = text; show(); },
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
