// The parts of a table's tab.

function leaderboard(table) {
  const shown = table.columns.filter((column) => !column.site_task).map((column) => (column.name === "method" ? { ...column, link: (row) => (table.rows[row] ? () => showMethod(table, row) : null) } : column));
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
    const { cells: all, better, digits, label, lines: levels } = metrics.find(({ name }) => name === metric);
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
      column("mean", means, { print, number: true, better, tip: `${label}, the mean over the columns` }),
      ...names.map((name, at) => column(name.join(" "), known.map((row) => row?.[at] ?? null), {
        print, number: true, shades: behind.map((row) => (row?.[at] ?? 0) / worst), best: behind.map((row) => (row?.[at] === 0 ? 1 : 0)),
      })),
    ], { score: 1, lines: lines.length, sort: `${name}-sort`, file: fileName(table.title, title, metric) });
    place.replaceChildren(found.element, soft(`${note}Shaded by the distance to the best row shown${rivals.length < cells.length ? " (pooled aside)" : ""}: no shade at the best of a column, full shade at ` +
      `${worst.toFixed(digits)} behind it. ${better > 0 ? "Higher" : "Lower"} is better.`));
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
    return "Higher is better, further left is cheaper. Methods that send nothing are drawn at 0." +
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
  const found = chart({ series, x: "training subjects of the newcomer", y: "test PSNR, dB", log: true, at: counts, file: fileName(table.title, "newcomers") });
  return part("Newcomers", [found.element, soft("Test PSNR at sites that took no part in training. At 0: with the model that the method sends to a newcomer, if it " +
    "sends one. Further right: after adapting to so many of the newcomer's training subjects. For local this is training from scratch.")], [found]);
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
