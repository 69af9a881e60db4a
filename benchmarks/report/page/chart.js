// Charts of lines or markers that are drawn as wide as there is room, with a legend that hides and shows series.

// A canvas that is drawn again when its width changes; `picture` makes an SVG element of a width.
function drawn(picture) {
  const canvas = html("div", { class: "chart" });
  const draw = () => canvas.clientWidth && canvas.replaceChildren(picture(canvas.clientWidth));
  new ResizeObserver(draw).observe(canvas);
  return { canvas, draw };
}

// A series for each row that has points.
function rowSeries(rows, points) {
  const look = looks(rows);
  return rows.flatMap(({ name }, number) => (points[number].length ? [{ name, look: look[number], points: points[number] }] : []));
}

// `series`: name, look, points [[x, y], ...], and if wanted band [[x, low, high], ...] and dots [[x, y], ...]. `x`, `y`: the names of the axes.
// `log`: the horizontal axis is logarithmic, and points at 0 are drawn at its left end. `marks`: markers with their names, and no lines. `whole`: the
// horizontal axis counts something.
function chart({ series, x, y, log = false, marks = false, height = 320, whole = false }) {
  const hidden = new Set();
  let filter = "";
  const visible = () => series.filter((one) => !hidden.has(one.name) && fits(one.name, filter));
  const { canvas, draw } = drawn((width) => picture(visible(), { x, y, log, marks, height, whole, width }));
  const keys = series.map((one) => html("button", { type: "button", "aria-pressed": "true", onclick: (event) => {
    if (!hidden.delete(one.name)) hidden.add(one.name);
    event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(one.name)));
    draw();
  } }, swatch(one.look, marks), one.name));
  return {
    element: html("div", {}, canvas, html("div", { class: "legend" }, ...keys)),
    filter(text) {
      filter = text;
      keys.forEach((key, number) => (key.hidden = !fits(series[number].name, text)));
      draw();
    },
    replace(changed) { ({ series, x, y } = { series, x, y, ...changed }); draw(); },
  };
}

// What a series looks like, for the legend.
function swatch(look, marks) {
  const line = svg("path", { d: "M0 6H26", stroke: look.colour, "stroke-width": 2.5, "stroke-dasharray": look.dash || null });
  const shown = marks ? [marker(13, 6, look)] : look.marker === "circle" ? [line] : [line, marker(13, 6, look, 3.5)];
  return svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, ...shown);
}

function picture(series, { x, y, log, marks, height, whole, width }) {
  const left = 58, right = 14, top = 12, bottom = 44;
  const points = series.flatMap((one) => [...one.points, ...(one.band ?? []).flatMap(([at, low, high]) => [[at, low], [at, high]])]);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${y} against ${x}` });
  if (!points.length) {
    drawing.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to show"));
    return drawing;
  }
  const across = points.map(([at]) => at), up = points.map(([, value]) => value);
  const positive = across.filter((at) => at > 0);
  const zero = log && positive.length < across.length ? 46 : 0; // room for points at 0
  const scale = (at) => (log ? Math.log10(at) : at);
  let [low, high] = positive.length || !log ? extent((log ? positive : across).map(scale)) : [0, 1];
  if (log && high - low < 0.3) [low, high] = [low - 0.3, high + 0.3];
  if (low === high) [low, high] = [low - 1, high + 1];
  let [down, above] = extent(up);
  const room = (above - down) * 0.06 || 0.5;
  [down, above] = [down - room, above + room];
  const px = (at) => (log && at <= 0 ? left + 16 : left + zero + ((scale(at) - low) / (high - low)) * (width - left - right - zero));
  const py = (value) => top + ((above - value) / (above - down)) * (height - top - bottom);

  const steps = ticks(down, above, Math.max(3, height / 55)), digits = decimals(steps);
  for (const value of steps) {
    drawing.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: py(value), y2: py(value) }),
      svg("text", { x: left - 7, y: py(value) + 4, "text-anchor": "end" }, value.toFixed(digits)));
  }
  const stepsAcross = log ? powers(low, high) : ticks(low, high, Math.max(5, width / 90), whole);
  for (const at of stepsAcross) {
    drawing.append(svg("line", { class: "axis", x1: px(at), x2: px(at), y1: height - bottom, y2: height - bottom + 5 }),
      svg("text", { x: px(at), y: height - bottom + 19, "text-anchor": "middle" }, short(at)));
  }
  if (zero) drawing.append(svg("text", { x: left + 16, y: height - bottom + 19, "text-anchor": "middle" }, "0"));
  drawing.append(svg("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - right}` }),
    svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, x),
    svg("text", { transform: `translate(12 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y));

  const path = (line) => line.map(([at, value], number) => `${number ? "L" : "M"}${px(at).toFixed(1)} ${py(value).toFixed(1)}`).join("");
  const taken = marks ? series.flatMap((one) => one.points.map(([at, value]) => [px(at) - 6, py(value) - 6, px(at) + 6, py(value) + 6])) : [];
  for (const { name, look, points: own, band = [], dots = [] } of series) {
    const group = svg("g", { class: "series" }, svg("title", {}, name));
    if (band.length) {
      const round = [...band.map(([at, , value]) => [at, value]), ...band.toReversed().map(([at, value]) => [at, value])];
      group.append(svg("path", { class: "area", d: `${path(round)}Z`, fill: look.colour }));
    }
    if (!marks && own.length) group.append(svg("path", { class: "line", d: path(own), stroke: look.colour, "stroke-dasharray": look.dash || null }));
    if (marks || own.length === 1 || look.marker !== "circle") {
      const every = Math.ceil(own.length / 8);
      own.forEach(([at, value], number) => number % every === 0 && group.append(marker(px(at), py(value), look, marks ? 6 : 3.5)));
    }
    for (const [at, value] of dots) group.append(marker(px(at), py(value), { ...look, marker: "circle" }, 4.5));
    if (marks && own.length) label(group, name, px(own[0][0]), py(own[0][1]), width, taken);
    drawing.append(group);
  }
  return drawing;
}

// The name beside a marker, unless it would cover another name or marker; the legend has all names.
function label(group, name, x, y, width, taken) {
  const long = name.length * 7.4;
  for (const [dx, dy, anchor] of [[10, 4, "start"], [-10, 4, "end"], [0, -11, "middle"], [0, 20, "middle"]]) {
    const start = x + dx - (anchor === "end" ? long : anchor === "middle" ? long / 2 : 0);
    const box = [start, y + dy - 11, start + long, y + dy + 3];
    const free = taken.every(([l, t, r, b]) => box[2] < l || box[0] > r || box[3] < t || box[1] > b);
    if (free && start > 58 && box[2] < width) {
      taken.push(box);
      group.append(svg("text", { x: x + dx, y: y + dy, "text-anchor": anchor }, name));
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
function powers(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++)
    for (const factor of high - low < 2 ? [1, 2, 5] : [1]) found.push(factor * 10 ** power);
  return found.filter((at) => Math.log10(at) >= low - 1e-9 && Math.log10(at) <= high + 1e-9);
}
const decimals = (steps) => (steps.length < 2 ? 1 : Math.max(0, -Math.floor(Math.log10(steps[1] - steps[0]) + 1e-9)));
const short = (at) => (at >= 1e4 || (at > 0 && at < 0.01) ? at.toExponential(0).replace("e+", "e") : String(+at.toPrecision(4)));
