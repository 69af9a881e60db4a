// The parts of a table's tab.

function leaderboard(table) {
  const shown = table.columns.filter((column) => !column.site_task).map((column) => ({ ...column, words: ["network", "flags"].includes(column.name), link: column.name === "method" ? (row) => (table.rows[row] ? () => showMethod(table, row) : null) : undefined }));
  const found = sortable(shown, { head: shown.findIndex(({ name }) => name === "method"), score: shown.findIndex(({ name }) => name === table.score), sort: "sort",
    lines: table.lines.length, file: fileName(table.title) });
  const labels = new Set(table.trained.metrics.map(({ label }) => label.split(" ")[0]));
  const metrics = [...labels].filter((label) => shown.some(({ name }) => name.split(" ").includes(label)));
  const ofOther = (name, metric) => metrics.some((label) => label !== metric && name.split(" ").includes(label));
  const wanted = {
    main: ({ main }) => main,
    all: () => true,
    ...Object.fromEntries(metrics.map((label) => [label, ({ name }) => !ofOther(name, label)])),
  };
  const pick = choice("columns", "Columns", Object.keys(wanted).map((name) => [name, name]), (name) => found.columns((number) => wanted[name](shown[number])));
  const facts = table.facts.map(([lead, text]) => [html("dt", {}, lead), html("dd", {}, ...prose(text))]);
  return part("Leaderboard", [controls(pick), found.element, soft(...prose(table.caption)), html("details", {}, html("summary", {}, "Data, training and records"), html("dl", {}, ...facts.flat())),
    soft("A heading says what its column means; a method's name leads to its paper, its code and the records of its row.",
      table.not_recorded.length ? ` Not recorded by these runs: ${table.not_recorded.join(", ")}.` : "")], [found]);
}

// What each row gains over a control on its network: a forest of intervals.
function gains(table) {
  const names = Object.keys(table.gains);
  if (!names.length) return NOTHING;
  const look = looks(table.rows), sentence = soft();
  let over = names[0], fits = () => true;
  const { canvas, draw } = drawn((width) => {
    const rows = table.rows.flatMap(({ name }, row) => (table.gains[over][row] && fits(name) ? [row] : [])), found = rows.map((row) => table.gains[over][row]);
    const { drawing, px, py } = rowsDrawing(rows.map((row) => table.rows[row].name), width, extent([0, ...found.flatMap(({ interval, together }) => together ?? interval)]), `gain in ${table.score} over ${over}${table.unit && `,${table.unit}`}`);
    drawing.append(svg("line", { class: "axis", x1: px(0), x2: px(0), y1: py(-0.5), y2: py(rows.length - 0.5) }));
    found.forEach(({ difference, interval, together, shown }, at) => {
      const colour = look[rows[at]].colour, y = py(at), across = ([low, high]) => `M${px(low)} ${y}H${px(high)}`;
      const mark = shown === null ? svg("path", { d: `M${px(difference)} ${y - 6}V${y + 6}`, stroke: colour, "stroke-width": 2 })
        : svg("circle", { cx: px(difference), cy: y, r: 5, stroke: colour, "stroke-width": 2, fill: shown ? colour : "var(--ground)" });
      drawing.append(svg("g", { class: "series" }, svg("title", {}, `${table.rows[rows[at]].name}: ${difference.toFixed(2)} (${interval.map((end) => end.toFixed(2)).join(" to ")})`),
        together && svg("path", { d: across(together), stroke: colour }), svg("path", { d: across(interval), stroke: colour, "stroke-width": 3.5 }), mark));
    });
    return drawing;
  });
  function show() {
    const named = (test) => table.rows.flatMap(({ name }, row) => (table.gains[over][row]?.shown && fits(name) && test(table.gains[over][row].difference) ? [name] : []));
    const told = [["above", named((value) => value > 0)], ["below", named((value) => value < 0)]].filter(([, names]) => names.length).map(([side, names]) => `Shown to be ${side} ${over}: ${names.join("; ")}.`);
    sentence.textContent = told.join(" ") || `No row of the figure is shown to differ from ${over}.`;
    draw();
  }
  const pick = choice("over", "Gain over", names.map((name) => [name, name]), (name) => { over = name; show(); });
  return part("Gains", [controls(pick), canvas, saveFigure(canvas, fileName(table.title, "gains")), sentence, soft("A row less the control on its network. Thick: the 95 % interval of a gain by " +
    "itself; thin: the interval that holds together with those of all gains of the table. Filled: shown to differ (5 % for all gains together); hollow: not shown to differ; a stroke: " +
    "exploratory, or a row of which nothing is claimed, because it is not above the look-up table or a seed diverged.")], [{ filter(test) { fits = test; show(); } }]);
}

// A matrix of all pairs of methods.
function pairs(table) {
  if (!table.pairs) return NOTHING;
  const { rows, difference, low, high, shown } = table.pairs, place = html("div", { class: "scroll", tabindex: 0 });
  function show(fits) {
    const kept = rows.flatMap((row, at) => (fits(table.rows[row].name) ? [at] : []));
    const cell = (one, other) => {
      if (one === other) return html("td", {});
      const better = difference[one][other] > 0, sign = shown[one][other] ? (better ? "+" : "−") : "·";
      const text = `${table.rows[rows[one]].name} less ${table.rows[rows[other]].name}: ${difference[one][other].toFixed(2)} (${low[one][other].toFixed(2)} to ${high[one][other].toFixed(2)})`;
      return html("td", { class: shown[one][other] ? (better ? "better" : "worse") : null, title: text }, sign);
    };
    place.replaceChildren(html("table", { class: "pairs" }, html("thead", {}, html("tr", {}, html("th", { class: "head" }, "method"), ...kept.map((_, at) => html("th", { scope: "col" }, at + 1)))),
      html("tbody", {}, ...kept.map((one, at) => html("tr", {}, html("th", { scope: "row", class: "head" }, `${at + 1} `, ...breaking(table.rows[rows[one]].name)), ...kept.map((other) => cell(one, other)))))));
  }
  show(() => true);
  const below = rows.filter((row) => table.rows[row].below).length;
  return part("Pairs of methods", [place, soft(`By ${table.score}, a row against the method of each number: + shown to be better, − shown to be worse, · not shown to differ (5 % for all pairs ` +
    "together). Ablations, rows that equal another and rows with a diverged seed are no methods of this family.", below ? ` ${below} of these ${rows.length} are below the look-up table: of them it says which is worse, no more.` : "")], [{ filter: show }]);
}

const everySiteTask = (table) => siteTasks(table, table.trained, "Every site and task", "sites", "");
const askedTasks = (table) =>
  siteTasks(table, table.asked, "Tasks that a site never trained", "asked", "How well the model of a site does a task that only other sites trained. ");

// The score of every row at each site and task, shaded by its distance to the best of the rows that are shown, all on one scale.
function siteTasks(table, block, title, name, note) {
  if (!block?.metrics.length) return NOTHING;
  const { site_tasks: names, metrics } = block;
  const place = html("div");
  let metric = metrics[0].name, fits = () => true;
  function show() {
    const { cells: all, better, digits, label, unit, lines: levels } = metrics.find(({ name }) => name === metric);
    const lines = table.lines.map((name, line) => ({ name, cells: levels[line] })).filter(({ cells }) => cells.some((value) => value !== null));
    const rows = table.rows.map((_, row) => row).filter((row) => fits(table.rows[row].name)), cells = rows.map((row) => all[row]), known = [...cells, ...lines.map(({ cells }) => cells)];
    const rivals = rows.some((row) => !table.rows[row].aside) ? cells.filter((_, at) => !table.rows[rows[at]].aside) : cells;
    const best = names.map((_, at) => Math.max(...rivals.filter((row) => row && row[at] !== null).map((row) => better * row[at])));
    const behind = cells.map((row) => row?.map((value, at) => (value === null ? null : best[at] - better * value)) ?? null);
    const worst = Math.max(...behind.flat().filter((value) => value !== null), 1e-12);
    const means = known.map((row) => (row && row.every((value) => value !== null) ? row.reduce((sum, value) => sum + value, 0) / row.length : null));
    const print = (value) => value.toFixed(digits);
    const found = sortable([
      column("method", [...rows.map((row) => table.rows[row].name), ...lines.map(({ name }) => name)]),
      column("mean", means, { print, number: true, better, tip: `${label}${unit && `, in${unit}`}, the mean over the columns` }),
      ...names.map((name, at) => column(name.join(" "), known.map((row) => row?.[at] ?? null), {
        print, number: true, shades: behind.map((row) => (row?.[at] ?? 0) / worst),
        best: behind.map((row, line) => (row?.[at] === 0 && !table.rows[rows[line]].below ? 1 : 0)),
      })),
    ], { score: 1, lines: lines.length, sort: `${name}-sort`, file: fileName(table.title, title, metric) });
    place.replaceChildren(found.element, soft(`${note}Shaded by the distance to the best row shown${rivals.length < cells.length ? " (pooled aside)" : ""}: no shade at the best of a column, full shade at ` +
      `${worst.toFixed(digits)}${unit} behind it. ${better > 0 ? "Higher" : "Lower"} is better.`));
  }
  const pick = choice(`${name}-metric`, "Metric", metrics.map(({ name, label }) => [name, label]), (value) => { metric = value; show(); });
  return part(title, [controls(pick), place], [{ filter(test) { fits = test; show(); } }]);
}

// The test PSNR of each row against the bytes of its whole run.
function pareto(table) {
  const series = rowSeries(table.rows, table.pareto.map((point) => (point ? [point] : [])));
  if (!series.length) return NOTHING;
  const beats = ([sent, psnr], [other, score]) => sent <= other && psnr >= score && (sent < other || psnr > score);
  const told = (shown) => {
    const front = shown.filter(({ points: [own] }) => !shown.some(({ points: [other] }) => beats(other, own)));
    return "Higher is better, further left is cheaper. Methods that send nothing are drawn at 0. Bars are 95 % intervals." +
      (shown.length > 1 ? ` Of the rows shown, none that sends as few bytes is better than ${front.map(({ name }) => name).join("; ")}.` : "");
  };
  const found = chart({ series, told, x: "MB of a whole run, all sites, up and down", y: "test PSNR, dB", log: true, marks: true, lines: referenceLines(table, "psnr"), file: fileName(table.title, "communication") });
  return part("Quality against communication", [found.element], [found]);
}

// The model of one site on the data of another.
function crossSite(table) {
  if (!table.cross_site) return NOTHING;
  const { sites, rows } = table.cross_site, place = html("div");
  function show(number) {
    const matrix = rows[number], known = matrix.flat().filter((value) => value !== null);
    const best = Math.max(...known), worst = Math.min(...known);
    const found = sortable([
      column("model of", sites),
      ...sites.map((site, at) => column(`on ${site}`, matrix.map((line) => line[at]), {
        print: (value) => value.toFixed(2), number: true, own: sites.map((_, row) => row === at),
        shades: matrix.map((line) => (line[at] === null ? 0 : (best - line[at]) / (best - worst || 1))),
      })),
    ], { file: fileName(table.title, "across sites", table.rows[number].name) });
    place.replaceChildren(found.element);
  }
  const first = Math.max(0, rows.findIndex((matrix) => matrix.flat().some((value) => value !== null)));
  const pick = choice("model", "Method", table.rows.map(({ name }, number) => [number, name]), (number) => show(Number(number)), String(first));
  return part("Across sites", [controls(pick), place, soft("Test PSNR in dB of the model of one site (row) on the data of another (column), the mean over the " +
    "column's tasks and over seeds. Framed: a site's own model. Shaded: how far a cell is behind the best of them all.")]);
}

function newcomers(table) {
  const series = rowSeries(table.rows, table.newcomers);
  if (!series.length) return NOTHING;
  for (const [number, [name, points]] of table.newcomer_lines.entries()) series.push({ name, look: { ...look(0), colour: "var(--soft)", dash: DASHES[1 + number] }, points });
  const counts = [...new Set(series.flatMap(({ points }) => points.map(([count]) => count)))].sort((a, b) => a - b);
  const found = chart({ series, x: "training subjects of the newcomer", y: "test PSNR, dB", beside: true, at: counts, file: fileName(table.title, "newcomers") });
  return part("Newcomers", [found.element, soft("Test PSNR at sites that took no part in training. At 0: with the model that the method sends to a newcomer, if it " +
    "sends one, else nothing. Further right: after adapting to so many of the newcomer's training subjects. For local this is training from scratch. Bars are 95 % intervals.")], [found]);
}

function dataCard(table) {
  if (!table.card) return NOTHING;
  const { lines, histograms } = table.card, names = Object.keys(histograms);
  const found = sortable(Object.keys(lines[0]).map((name) => column(name, lines.map((line) => line[name]))), { file: fileName(table.title, "data") });
  const contrasts = [...new Set(Object.values(histograms).flatMap(Object.keys))].sort();
  const charts = contrasts.map((contrast) => {
    const series = names.flatMap((site, number) => {
      const own = histograms[site][contrast];
      return own ? [{ name: site, look: look(number), points: own.map((share, bin) => [(bin + 0.5) / own.length, share]) }] : [];
    });
    return html("div", {}, html("h4", {}, contrast), chart({ series, x: "intensity", y: "share of pixels", height: 200, at: [0.25, 0.5, 0.75] }).element);
  });
  const figure = html("div", { class: "charts" }, ...charts);
  return part("Data", [found.element, soft("For each site and split, the number of subjects and, in brackets, of slices."), figure, saveFigure(figure, fileName(table.title, "intensities")),
    soft("Intensities inside the foreground of at most 64 slices of each site, evenly spaced: the share of pixels in each of 40 bins.")]);
}

function baselines(table) {
  const heads = ["site", "task", "copied source", "mean training image", "look-up table", "pooled look-up table", "gap"];
  const found = sortable(heads.map((name, at) => column(name, table.baselines.map((row) => row[at]), at > 1 ? { print: (value) => value.toFixed(2), number: true } : {})), { file: fileName(table.title, "without training") });
  return part("Without training", [found.element, soft("Test PSNR in dB of predictions that need no network: the source itself, the mean of the site's training " +
    "targets, and look-up tables that map each source intensity to its mean target intensity, fitted on the site's own training subjects or pooled, on those " +
    "of all sites with the same source. The gap between the two tables measures how much the intensities of the sites differ: no single map " +
    "for all sites can close it.")]);
}

// Reference lines of a chart: [name, score] over all site-tasks, or the mean over those of one site.
function referenceLines(table, metric, site = "") {
  const { site_tasks: names, metrics } = table.trained, lines = metrics.find(({ name }) => name === metric)?.lines ?? [];
  return lines.flatMap((cells, number) => {
    const own = cells.filter((value, at) => value !== null && (!site || names[at][0] === site));
    return own.length ? [[table.lines[number], own.reduce((sum, value) => sum + value, 0) / own.length]] : [];
  });
}
