// Elements of the page, and its blocks of data.

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
const svg = (tag, attributes = {}, ...children) => make("http://www.w3.org/2000/svg", tag, attributes, children);

// Text in which `backticks` mark code.
const prose = (text) => arrow(text).split("`").map((part, at) => (at % 2 ? html("code", {}, part) : part));
const soft = (...texts) => html("p", { class: "soft" }, ...texts);
const controls = (...choices) => html("div", { class: "controls" }, ...choices);

// A part of a tab: its elements, and what has to hear of the filter. NOTHING is a part that the data do not allow.
const part = (title, elements, listeners = []) => [[html("h3", {}, title), ...elements], listeners];
const NOTHING = [[], []];

// A choice among [value, text] pairs; `chosen` is called with the value.
function choice(label, options, chosen) {
  const select = html("select", { onchange: () => chosen(select.value) });
  select.append(...options.map(([value, text]) => html("option", { value }, arrow(text))));
  return html("label", {}, label, select);
}

// A colour for each method by its name, the same in every tab; dashes tell the rows of one method in a table apart.
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "4 2 1 2 1 2"];
const MARKERS = ["circle", "square", "triangle", "diamond", "cross", "star"];
function looks(rows) {
  const seen = {};
  return rows.map(({ method }) => {
    const number = Math.max(0, common.methods.indexOf(method));
    const variant = (seen[method] = (seen[method] ?? -1) + 1);
    return { ...look(number), marker: MARKERS[Math.floor(number / common.colours) % MARKERS.length], dash: DASHES[variant % DASHES.length] };
  });
}

// For lines that are no methods: when all colours are used up, they start again with dashes.
const look = (number) => ({ colour: `var(--c${number % common.colours})`, marker: "circle", dash: DASHES[Math.floor(number / common.colours) % DASHES.length] });

// Whether a name has every word of a filter.
const fits = (name, filter) => filter.toLowerCase().split(/\s+/).every((word) => name.toLowerCase().includes(word));
