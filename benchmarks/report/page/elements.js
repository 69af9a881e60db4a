// Elements, and the data blocks of the page.

const arrow = (text) => String(text).replaceAll("->", "→");
const data = (name) => JSON.parse(document.getElementById(`data-${name}`).textContent);
const common = data("common");

function make(space, tag, attributes, children) {
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const html = (tag, attributes = {}, ...children) => make("http://www.w3.org/1999/xhtml", tag, attributes, children);
const prose = (text) => arrow(text).split("`").map((part, at) => (at % 2 ? html("code", {}, part) : part));
const svg = (tag, attributes = {}, ...children) => make("http://www.w3.org/2000/svg", tag, attributes, children);

// A choice among [value, text] pairs; `chosen` is called with the value.
function choice(label, options, chosen) {
  const select = html("select", { onchange: () => chosen(select.value) });
  select.append(...options.map(([value, text]) => html("option", { value }, arrow(text))));
  return html("label", {}, label, select);
}

// One colour a method, by name and the same in every tab; dashes tell apart a table's rows of a method.
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "4 2 1 2 1 2"];
const MARKS = ["circle", "square", "triangle", "diamond", "cross", "star"];
function looks(rows) {
  const seen = {};
  return rows.map(({ method }) => {
    const number = Math.max(0, common.methods.indexOf(method));
    const variant = (seen[method] = (seen[method] ?? -1) + 1);
    return {
      colour: `var(--c${number % common.colours})`,
      mark: MARKS[Math.floor(number / common.colours) % MARKS.length],
      dash: DASHES[variant % DASHES.length],
    };
  });
}

// Whether a name has every word of a filter.
const fits = (name, filter) => filter.toLowerCase().split(/\s+/).every((word) => name.toLowerCase().includes(word));
