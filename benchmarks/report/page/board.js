// A table that is sorted by its headings and filtered by its rows' names.

const MOST = 200; // rows, until all are asked for

// `columns`: name, number, cells (text), values (to sort by), and if wanted shades (0 to 1), best (1 or 2: the best or second best), own (of each row), wrap.
// `head` is the number of the column that names a row.
function board(columns, head = 0) {
  const count = columns[0].cells.length;
  let order = [...Array(count).keys()], sorted = null, up = false, filter = "";
  const body = html("tbody");
  const heads = columns.map((column, number) =>
    html("th", { scope: "col", class: column.number && "number", "aria-sort": "none" },
      html("button", { type: "button", onclick: () => sort(number) }, arrow(column.name))));
  const rows = [], hidden = new Set(); // rows are made when they are first shown
  const line = (row) => {
    rows[row] ??= html("tr", {}, ...columns.map((column, number) => cell(column, row, number)));
    [...rows[row].children].forEach((part, number) => (part.hidden = hidden.has(number)));
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
    up = sorted === number ? !up : !numeric; // numbers start with the largest
    sorted = number;
    const side = up ? 1 : -1;
    order = [...Array(count).keys()].sort((a, b) => {
      const [first, second] = [values[a], values[b]];
      if (first === null || second === null) return (first === null) - (second === null);
      return side * (numeric ? first - second : String(first).localeCompare(String(second), "en", { numeric: true }));
    });
    heads.forEach((element, other) => element.setAttribute("aria-sort", other !== number ? "none" : up ? "ascending" : "descending"));
    show();
  }
  const more = html("button", { type: "button", onclick: () => { most = Infinity; show(); } });
  let most = MOST;
  function show() {
    const shown = order.filter((row) => fits(columns[head].cells[row], filter));
    body.replaceChildren(...shown.slice(0, most).map(line));
    more.hidden = shown.length <= most;
    more.textContent = `${most} of ${shown.length} rows: show all`;
  }
  show();
  const table = html("table", { class: "board" }, html("thead", {}, html("tr", {}, ...heads)), body);
  return {
    element: html("div", { class: "scroll", tabindex: 0 }, table, more),
    filter(text) { filter = text; show(); },
    // Show only the columns for which `wanted` is true of their number.
    columns(wanted) {
      heads.forEach((part, number) => {
        part.hidden = !wanted(number);
        hidden[part.hidden ? "add" : "delete"](number);
      });
      show();
    },
  };
}
