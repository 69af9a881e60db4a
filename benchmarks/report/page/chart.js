// Charts of lines or markers that are drawn as wide as there is room, with a legend that hides and shows series, and saved as SVG.

// A canvas that is drawn again when its width changes; `picture` makes an SVG element of a width.
function drawn(picture) {
  const canvas = html("div", { class: "chart" });
  const draw = () => canvas.clientWidth && canvas.replaceChildren(picture(canvas.clientWidth));
  new ResizeObserver(draw).observe(canvas);
  return { canvas, draw };
}

// A series for each row that has points [x, y], or [x, y, half of an interval].
function rowSeries(rows, points) {
  const look = looks(rows);
  return rows.flatMap(({ name }, number) => (points[number].length ? [{ name, look: look[number], points: points[number] }] : []));
}

const LETTER = 6.6; // pixels, the width of a letter of 12 pixels at most, on average
const MANY_KEYS = 12; // of a legend; more are folded on a phone

// Buttons that hide and show series; `changed` is called when others are shown. `shows` is true of the names of those that are shown.
function legend(series, marks, changed) {
  const hidden = new Set();
  let fits = () => true;
  const keys = series.map(({ name, look }) => html("button", { type: "button", onclick: () => { if (!hidden.delete(name)) hidden.add(name); update(); } },
    swatch(look, marks), html("span", {}, name)));
  const all = html("button", { type: "button", class: "all", onclick: () => {
    const some = hidden.size < series.length;
    hidden.clear();
    if (some) series.forEach(({ name }) => hidden.add(name));
    update();
  } });
  function update() {
    keys.forEach((key, number) => {
      key.setAttribute("aria-pressed", String(!hidden.has(series[number].name)));
      key.hidden = !fits(series[number].name);
    });
    all.textContent = hidden.size < series.length ? "hide all" : "show all";
    changed();
  }
  const buttons = html("div", { class: "legend" }, ...keys, series.length > 2 ? all : null);
  const element = series.length > MANY_KEYS ? html("details", { open: matchMedia("(min-width: 46rem)").matches }, html("summary", {}, `${series.length} rows`), buttons) : buttons;
  return {
    element, buttons,
    shows: (name) => !hidden.has(name) && fits(name),
    filter(test) { fits = test; update(); },
    update,
  };
}

// `series`: name, look, points [[x, y], ...] or [[x, y, half of its interval], ...], and if wanted band [[x, low, high], ...] and dots [[x, y], ...]. Of
// `options`, `x` and `y` are the names of the axes. If wanted: `log`, the horizontal axis is logarithmic, and points at 0 are drawn at its left end; `marks`,
// markers with their names, and no lines; `beside`, series share their x, which are those of `at`: these stand at equal steps and series beside one another; `whole`, the horizontal axis counts something;
// `counted`, its ticks are at values of the data; `at`, its ticks; `lines` [[name, y], ...] across the chart; `unnamed`, without their names; `diagonal`,
// a line of equal values; `told`, which is called with the series that are shown and returns a sentence; `file`, the name of the SVG.
function chart({ series, told = () => "", file, height = 320, ...options }) {
  const visible = () => series.filter(({ name, points }) => points.length && keys.shows(name));
  const { canvas, draw } = drawn((width) => picture({ ...options, series: visible(), height, width }));
  const sentence = soft();
  const keys = legend(series, options.marks, () => { sentence.textContent = told(visible()); draw(); });
  keys.update();
  const element = html("div", {}, canvas, keys.element);
  if (file) keys.buttons.append(saveFigure(element, file));
  return { element: html("div", {}, element, sentence), filter: keys.filter };
}

// A button that saves what an element shows as one SVG, in the colours of a white page: its charts, headings and legends, each where it stands.
function saveFigure(element, file) {
  return html("button", { type: "button", class: "save", onclick: () => save(`${file}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(vector(element))) }, "SVG");
}
const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "text-anchor"];
function vector(element) {
  element.style.colorScheme = "light";
  const { left, top, width, height } = element.getBoundingClientRect();
  const whole = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "sans-serif" }, svg("rect", { width, height, fill: "#fff" }));
  for (const one of element.querySelectorAll("svg, h4, .legend span")) {
    const box = one.getBoundingClientRect(), x = box.left - left, y = box.top - top;
    if (!one.checkVisibility()) continue;
    if (one.localName !== "svg") {
      whole.append(svg("text", { x, y: y + 0.75 * box.height, "font-size": getComputedStyle(one).fontSize }, one.textContent));
      continue;
    }
    const copy = one.cloneNode(true), inner = [...copy.querySelectorAll("*")];
    for (const [name, value] of Object.entries({ x, y, width: box.width, height: box.height })) copy.setAttribute(name, value);
    [...one.querySelectorAll("*")].forEach((original, number) => {
      const style = getComputedStyle(original);
      for (const name of STYLES) inner[number].setAttribute(name, style.getPropertyValue(name));
      inner[number].removeAttribute("class");
    });
    whole.append(copy);
  }
  element.style.colorScheme = "";
  return whole;
}

// What a series looks like, for the legend.
function swatch(look, marks) {
  const line = svg("path", { d: "M0 6H26", stroke: look.colour, "stroke-width": 2.5, "stroke-dasharray": look.dash || null });
  const shown = marks ? [marker(13, 6, look)] : look.marker === "circle" ? [line] : [line, marker(13, 6, look, 3.5)];
  return svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, ...shown);
}

function picture({ series, x, y, log = false, marks = false, beside = false, whole = false, counted = false, at: given, lines = [], unnamed = false, diagonal = false, behind = [], range, height, width }) {
  const values = (one) => [...one.points, ...one.points.flatMap(([at, value, margin = 0]) => [[at, value - margin], [at, value + margin]]), ...(one.band ?? []).flatMap(([at, low, high]) => [[at, low], [at, high]])];
  const points = [...series, ...behind].flatMap(values);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${y} against ${x}` });
  if (!points.length) {
    drawing.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to show"));
    return drawing;
  }
  const across = points.map(([at]) => at);
  const positive = across.filter((at) => at > 0);
  const zero = log && positive.length < across.length ? 46 : 0; // room for points at 0
  const scale = (at) => (beside ? given.indexOf(at) : log ? Math.log10(at) : at);
  let [low, high] = positive.length || !log ? extent((log ? positive : across).map(scale)) : [0, 1];
  if (log && high - low < 0.3) [low, high] = [low - 0.3, high + 0.3];
  if (low === high) [low, high] = [low - 1, high + 1];
  let [down, above] = range ?? reach(points.map(([, value]) => value), lines);
  if (diagonal) [low, high] = [down, above] = extent([low, high, down, above]);
  const room = (above - down) * 0.06 || 0.5;
  [down, above] = [down - room, above + room];
  const away = lines.filter(([, value]) => !unnamed && (value > above || value < down)).map(([name, value]) => `${value > above ? "↑" : "↓"} ${name} ${value.toFixed(1)}`);
  const told = folded(away, width / 6.2), left = 58, right = 14, top = 12, bottom = 44 + 15 * told.length;
  const apart = beside ? Math.min(7, (width - left) / 10 / series.length) : 0, inset = marks ? 12 : beside ? 6 + (apart * series.length) / 2 : 0;
  const px = (at) => (log && at <= 0 ? left + 16 : left + zero + inset + ((scale(at) - low) / (high - low)) * (width - left - right - zero - 2 * inset));
  const py = (value) => top + ((above - value) / (above - down)) * (height - top - bottom);

  const steps = ticks(down, above, Math.max(3, height / 45)), digits = decimals(steps);
  for (const value of steps) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: py(value), y2: py(value) }),
      svg("text", { x: left - 7, y: py(value) + 4, "text-anchor": "end" }, value.toFixed(digits)));
  }
  const stepsAcross = given ?? (counted ? among(across, Math.max(3, (width - left) / 34)) : log ? powers(low, high) : ticks(low, high, Math.max(3, width / 90), whole));
  let last = -Infinity; // where the last label ends
  for (const at of stepsAcross) {
    const text = short(at), half = 3.6 * text.length;
    drawing.append(svg("line", { class: "axis", x1: px(at), x2: px(at), y1: height - bottom, y2: height - bottom + 5 }));
    if (px(at) - half < last + 4) continue;
    drawing.append(svg("text", { class: "tick", x: px(at), y: height - bottom + 19, "text-anchor": "middle" }, text));
    last = px(at) + half;
  }
  if (zero && !given) drawing.append(svg("text", { x: px(0), y: height - bottom + 19, "text-anchor": "middle" }, "0"));
  drawing.append(svg("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - right}` }),
    svg("text", { x: (left + width - right) / 2, y: height - bottom + 38, "text-anchor": "middle" }, x),
    ...told.map((line, at) => svg("text", { class: "line-name", x: width - right, y: height - bottom + 54 + 15 * at, "text-anchor": "end" }, line)),
    svg("text", { transform: `translate(12 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y));
  if (diagonal) drawing.append(svg("line", { class: "reference", x1: px(low), y1: py(low), x2: px(high), y2: py(high) }));

  const path = (line) => line.map(([at, value], number) => `${number ? "L" : "M"}${px(at).toFixed(1)} ${py(value).toFixed(1)}`).join("");
  if (behind.length) drawing.append(svg("path", { class: "behind", d: behind.map((one) => path(one.points)).join("") }));
  const named = references(lines.filter(([, value]) => value <= above && value >= down), left, width - right, py);
  drawing.append(...named.map(({ line }) => line));
  const taken = marks ? [...named.map(({ box }) => box), ...series.flatMap((one) => one.points.map(([at, value]) => [px(at) - 6, py(value) - 6, px(at) + 6, py(value) + 6]))] : [];
  for (const [number, { name, look, points: own, band = [], dots = [] }] of series.entries()) {
    const aside = apart * (number - (series.length - 1) / 2), group = svg("g", { class: "series", transform: aside ? `translate(${aside.toFixed(1)} 0)` : null }, svg("title", {}, name));
    const bars = own.filter(([, , margin]) => margin).map(([at, value, margin]) => `M${px(at).toFixed(1)} ${py(value - margin).toFixed(1)}V${py(value + margin).toFixed(1)}`);
    if (bars.length) group.append(svg("path", { class: "bar", d: bars.join(""), stroke: look.colour }));
    if (band.length) {
      const round = [...band.map(([at, , value]) => [at, value]), ...band.toReversed().map(([at, value]) => [at, value])];
      group.append(svg("path", { class: "area", d: `${path(round)}Z`, fill: look.colour }));
    }
    if (!marks && own.length) group.append(svg("path", { class: "line", d: path(own), stroke: look.colour, "stroke-dasharray": look.dash || null }));
    if (marks || beside || own.length === 1 || look.marker !== "circle") {
      const every = Math.ceil(own.length / 8);
      own.forEach(([at, value], number) => number % every === 0 && group.append(marker(px(at), py(value), look, marks ? 6 : 3.5)));
    }
    for (const [at, value] of dots) group.append(marker(px(at), py(value), { ...look, marker: "circle" }, 4.5));
    if (marks && own.length) label(group, name, px(own[0][0]), py(own[0][1]), width, height - bottom, taken);
    drawing.append(group);
  }
  if (!unnamed) drawing.append(...named.map(({ text }) => text));
  return drawing;
}

// The frame of a drawing with a row for each name, best on top: names at the left, an axis below; `px` and `py` place a value and a row.
function rowsDrawing(names, width, [low, high], title, { head = 6, margin = 12, whole = false } = {}) {
  const room = Math.min(240, width * 0.4), folds = names.map((name) => folded(name.split(/(?<=[ /])/), room / LETTER, "")), line = 24 + 14 * Math.max(0, ...folds.map((own) => own.length - 1));
  const left = 16 + Math.max(20, ...folds.flat().map((text) => Math.min(room, text.length * LETTER))), right = width - margin, floor = head + line * names.length, height = floor + 44;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": title });
  const px = (value) => left + 10 + ((value - low) / (high - low || 1)) * (right - left - 20), py = (row) => head + line * (row + 0.5);
  const steps = ticks(low, high, Math.max(4, (right - left) / 70), whole), digits = whole ? 0 : decimals(steps);
  for (const value of steps) drawing.append(svg("line", { class: "grid", x1: px(value), x2: px(value), y1: head, y2: floor }), svg("text", { class: "tick", x: px(value), y: floor + 16, "text-anchor": "middle" }, value.toFixed(digits)));
  drawing.append(svg("text", { x: (left + right) / 2, y: floor + 36, "text-anchor": "middle" }, title),
    ...folds.flatMap((own, row) => own.map((text, at) => svg("text", { x: left - 8, y: py(row) + 4 + 14 * (at - (own.length - 1) / 2), "text-anchor": "end" }, text))));
  return { drawing, px, py, left, right };
}

// The lowest and the highest value. A reference line counts if it is no further away than a share of what the values are from one another.
function reach(values, lines, share = 1) {
  const [low, high] = extent(values), span = share * Math.max(high - low, 1);
  return extent([low, high, ...lines.map(([, value]) => value).filter((value) => value > low - span && value < high + span)]);
}

// Lines across a chart, their names at the right end, and the boxes of these.
function references(lines, left, right, py) {
  let last = Infinity;
  return lines.toSorted(([, a], [, b]) => a - b).map(([name, value]) => {
    const y = Math.min(py(value) - 4, last - 13);
    last = y;
    return { line: svg("line", { class: "reference", x1: left, x2: right, y1: py(value), y2: py(value) }),
      text: svg("text", { class: "line-name", x: right, y, "text-anchor": "end" }, name), box: [right - 6.2 * name.length, y - 11, right, y + 3] };
  });
}

// Parts in lines of at most so many letters.
function folded(parts, letters, between = ", ") {
  return parts.reduce((lines, part) => {
    const last = lines.at(-1);
    return last && last.length + part.length + between.length <= letters ? [...lines.slice(0, -1), `${last}${between}${part}`] : [...lines, part];
  }, []);
}

// The name beside a marker, unless it would cover another name or marker; the legend has all names.
const PLACES = [[10, 4, "start"], [-10, 4, "end"], [0, -11, "middle"], [0, 20, "middle"], [8, -8, "start"], [8, 17, "start"], [-8, -8, "end"], [-8, 17, "end"]];
function label(group, name, x, y, width, floor, taken) {
  const long = name.length * LETTER;
  for (const [dx, dy, anchor] of PLACES) {
    const start = x + dx - (anchor === "end" ? long : anchor === "middle" ? long / 2 : 0);
    const box = [start, y + dy - 11, start + long, y + dy + 3];
    const free = taken.every(([l, t, r, b]) => box[2] < l || box[0] > r || box[3] < t || box[1] > b);
    if (free && start > 58 && box[2] < width && box[3] < floor) {
      taken.push(box);
      group.append(svg("text", { class: "name", x: x + dx, y: y + dy, "text-anchor": anchor }, name));
      return;
    }
  }
}

function marker(x, y, look, size = 5) {
  const s = size, shapes = {
    circle: `M${x - s} ${y}a${s} ${s} 0 1 0 ${2 * s} 0a${s} ${s} 0 1 0 ${-2 * s} 0`,
    square: `M${x - s} ${y - s}h${2 * s}v${2 * s}h${-2 * s}z`,
    triangle: `M${x} ${y - s}l${s} ${2 * s}h${-2 * s}z`,
    diamond: `M${x} ${y - s}l${s} ${s}l${-s} ${s}l${-s} ${-s}z`,
    cross: `M${x - s} ${y - s / 3}h${(2 * s) / 3}v${(-2 * s) / 3}h${(2 * s) / 3}v${(2 * s) / 3}h${(2 * s) / 3}v${(2 * s) / 3}h${(-2 * s) / 3}v${(2 * s) / 3}h${(-2 * s) / 3}v${(-2 * s) / 3}h${(-2 * s) / 3}z`,
    star: `M${x} ${y - s}l${s * 0.3} ${s * 0.7}h${s * 0.7}l${-s * 0.6} ${s * 0.5}l${s * 0.3} ${s * 0.8}l${-s * 0.7} ${-s * 0.5}l${-s * 0.7} ${s * 0.5}l${s * 0.3} ${-s * 0.8}l${-s * 0.6} ${-s * 0.5}h${s * 0.7}z`,
  };
  return svg("path", { d: shapes[look.marker], fill: look.colour, stroke: "var(--ground)", "stroke-width": 1 });
}

const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

function ticks(low, high, most, whole = false) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  let step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let number = Math.ceil(low / step - 1e-9); number * step <= high + step * 1e-9; number++) found.push(number * step);
  return found;
}
// Ticks of a logarithmic axis: powers of ten, with their multiples or evenly spaced where these are fewer than three.
function powers(low, high) {
  for (const factors of [[1], [1, 2, 5]]) {
    const found = [];
    for (let power = Math.floor(low); power <= Math.ceil(high); power++) for (const factor of factors) found.push(factor * 10 ** power);
    const inside = found.filter((at) => Math.log10(at) >= low - 1e-9 && Math.log10(at) <= high + 1e-9);
    if (inside.length > 2) return inside;
  }
  return ticks(10 ** low, 10 ** high, 6);
}
// At most so many of the values: all if they are few, else those at round numbers, else every second, third or so, counted from the last.
function among(values, most) {
  const known = [...new Set(values)].sort((a, b) => a - b), every = Math.ceil(known.length / most);
  if (every <= 1) return known;
  const round = known.filter((value) => ticks(known[0], known.at(-1), most).includes(value));
  return round.length >= most / 2 ? round : known.filter((_, at) => (known.length - 1 - at) % every === 0);
}
const decimals = (steps) => (steps.length < 2 ? 1 : Math.max(0, -Math.floor(Math.log10(steps[1] - steps[0]) + 1e-9)));
const short = (at) => (at >= 1e4 || (at > 0 && at < 0.01) ? at.toExponential(0).replace("e+", "e") : String(+at.toPrecision(4)));
