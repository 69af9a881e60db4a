// Elements of the page, and its blocks of data.

const arrow = (text) => String(text).replaceAll("->", "→").replaceAll("+-", "±");
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

// A name that may break into lines after a slash and before the dots of an option's name.
const breaking = (text) => arrow(text).split(/(?<=\/)|(?=\.[a-z])/).flatMap((part, at) => (at ? [html("wbr"), part] : [part]));

// Text in which `backticks` mark code.
const prose = (text) => arrow(text).split("`").map((part, at) => (at % 2 ? html("code", {}, part) : part));
const soft = (...texts) => html("p", { class: "soft" }, ...texts);
const controls = (...choices) => html("div", { class: "controls" }, ...choices);

// A part of a tab: its elements, and what has to hear of the filter. NOTHING is a part that the data do not allow.
const part = (title, elements, listeners = []) => [[html("h3", {}, title), ...elements], listeners];
const NOTHING = [[], []];

// A colour for each method by its name, the same in every tab; dashes, then markers, tell the rows of one method in a table apart.
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "4 2 1 2 1 2"];
const MARKERS = ["circle", "square", "triangle", "diamond", "cross", "star"];
function looks(rows) {
  const taken = new Set();
  return rows.map(({ method }) => {
    const number = Math.max(0, common.methods.indexOf(method));
    for (let variant = Math.floor(number / common.colours) * DASHES.length; ; variant++) {
      const own = { ...look(number % common.colours), marker: MARKERS[Math.floor(variant / DASHES.length) % MARKERS.length], dash: DASHES[variant % DASHES.length] };
      const style = Object.values(own).join();
      if (taken.has(style) && taken.size < common.colours * DASHES.length * MARKERS.length) continue;
      taken.add(style);
      return own;
    }
  });
}

// For lines that are no methods: when all colours are used up, they start again with dashes.
const look = (number) => ({ colour: `var(--c${number % common.colours})`, marker: "circle", dash: DASHES[Math.floor(number / common.colours) % DASHES.length] });

// Save a text as a file.
function save(name, kind, text) {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  html("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}
const fileName = (...parts) => parts.join(" ").toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");

// What something means, told where the mouse or the focus is.
const tip = html("div", { role: "tooltip", id: "tip", hidden: true });
document.body.append(tip);
function explained(element, text) {
  if (!text) return element;
  function tell() {
    tip.textContent = arrow(text);
    tip.hidden = false;
    const { left, bottom } = element.getBoundingClientRect(), room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(8, Math.min(left, room))}px`;
    tip.style.top = `${bottom + 6}px`;
  }
  for (const [event, react] of [["mouseenter", tell], ["focus", tell], ["mouseleave", hush], ["blur", hush]]) element.addEventListener(event, react);
  element.setAttribute("aria-description", arrow(text));
  return element;
}
const hush = () => (tip.hidden = true);
addEventListener("scroll", hush, { capture: true, passive: true });
addEventListener("keydown", ({ key }) => key === "Escape" && hush());
