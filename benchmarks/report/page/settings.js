// What a reader chose in a tab, kept in the address (#table-1?sort=-PSNR&filter=fedbn), so that a link shows what its sender saw.

class Settings {
  constructor(tab, text = "") { this.tab = tab; this.values = new URLSearchParams(text); }
  get text() { return this.values.toString(); }
  get hash() { return `#${this.tab}${this.text && `?${this.text}`}`; }
  get(name, usual) { return this.values.get(name) ?? usual; }
  // What is usual is left out of the address.
  set(name, value, usual) {
    if (value === usual) this.values.delete(name);
    else this.values.set(name, value);
    history.replaceState(null, "", this.hash);
  }
}
let settings = new Settings("overview"); // of the tab that is being drawn

// A choice among [value, text] pairs, kept in the address as `name`; `chosen` is called with the value, now and at every change.
function choice(name, label, options, chosen, usual = String(options[0][0])) {
  const own = settings, values = options.map(([value]) => String(value)), kept = own.get(name, usual);
  const select = html("select", { onchange: () => { own.set(name, select.value, usual); chosen(select.value); } });
  select.append(...options.map(([value, text]) => html("option", { value }, arrow(text))));
  select.value = values.includes(kept) ? kept : usual;
  chosen(select.value);
  return html("label", {}, label, select);
}

// Whether a name fits a filter: one of several names between commas, each of which may have several words; or what matches a /regular
// expression/. Throws SyntaxError for an expression that is none.
function filterOf(text) {
  const expression = text.trim().match(/^\/(.+)\/$/)?.[1];
  if (expression) {
    const pattern = new RegExp(expression, "i");
    return (name) => pattern.test(name);
  }
  const names = text.toLowerCase().split(",").map((one) => one.trim().split(/\s+/)).filter(([word]) => word);
  return (name) => !names.length || names.some((words) => words.every((word) => name.toLowerCase().includes(word)));
}

// The field of a filter; `changed` is called with what fits, now and at every change.
function filterField(changed) {
  const own = settings;
  function read() {
    try {
      changed(filterOf(input.value));
      input.setCustomValidity("");
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      input.setCustomValidity(error.message);
      input.title = error.message;
    }
  }
  const input = html("input", { type: "search", placeholder: "fedbn, pflsynth or /^fed(bn|avg)/", oninput: () => { own.set("filter", input.value, ""); read(); } });
  input.value = own.get("filter", "");
  read();
  return html("label", {}, "Filter rows", input);
}
