// The parts of a table's tab.

function leaderboard(table) {
  const shown = table.columns.filter((column) => !column.site_task);
  const found = sortable(shown, shown.findIndex((column) => column.name === "method"));
  const labels = new Set(table.trained.metrics.map(({ label }) => label.split(" ")[0]));
  const metrics = [...labels].filter((label) => shown.some(({ name }) => name.split(" ").includes(label)));
  const ofOther = (name, metric) => metrics.some((label) => label !== metric && name.split(" ").includes(label));
  const wanted = {
    main: ({ main }) => main,
    all: () => true,
    ...Object.fromEntries(metrics.map((label) => [label, ({ name }) => !ofOther(name, label)])),
  };
  const pick = choice("Columns", Object.keys(wanted).map((name) => [name, name]), (name) => found.columns((number) => wanted[name](shown[number])));
  found.columns((number) => shown[number].main);
  const lines = table.caption.map((line) => {
    const [lead, ...rest] = line.split(": ");
    return rest.length && lead.length < 45 ? html("li", {}, html("strong", {}, lead), ": ", ...prose(rest.join(": "))) : html("li", {}, ...prose(line));
  });
  const meaning = html("details", { open: matchMedia("(min-width: 46rem)").matches }, html("summary", {}, "What the numbers are"), html("ul", { class: "soft" }, ...lines));
  return part("Leaderboard", [controls(pick), found.element, meaning], [found]);
}

const everySiteTask = (table) => siteTasks(table, table.trained, "Every site and task", "");
const askedTasks = (table) =>
  siteTasks(table, table.asked, "Tasks that a site never trained", "How well the model of a site does a task that only other sites trained. ");

// The score of every row at each site and task, shaded by its distance to the best, all on one scale.
function siteTasks(table, block, title, note) {
  if (!block?.metrics.length) return NOTHING;
  const { site_tasks: names, metrics } = block;
  const place = html("div");
  let found = null, filter = "";
  function show(metric) {
    const { cells, better, digits } = metrics.find(({ name }) => name === metric);
    const best = names.map((_, at) => Math.max(...cells.filter((row) => row && row[at] !== null).map((row) => better * row[at])));
    const behind = cells.map((row) => row?.map((value, at) => (value === null ? null : best[at] - better * value)) ?? null);
    const worst = Math.max(...behind.flat().filter((value) => value !== null), 1e-12);
    const means = cells.map((row) => (row && row.every((value) => value !== null) ? row.reduce((sum, value) => sum + value, 0) / row.length : null));
    const print = (value) => value.toFixed(digits);
    found = sortable([
      column("method", table.rows.map(({ name }) => name)),
      column("mean", means, { print, number: true }),
      ...names.map((name, at) => column(name.join(" "), cells.map((row) => row?.[at] ?? null), {
        print, number: true, shades: behind.map((row) => (row?.[at] ?? 0) / worst), best: behind.map((row) => (row?.[at] === 0 ? 1 : 0)),
      })),
    ]);
    place.replaceChildren(found.element, soft(`${note}Shaded by the distance to the best of the column: no shade at the best, full shade at ` +
      `${worst.toFixed(digits)} behind it, in every column. ${better > 0 ? "Higher" : "Lower"} is better.`));
    found.filter(filter);
  }
  show(metrics[0].name);
  const pick = choice("Metric", metrics.map(({ name, label }) => [name, label]), show);
  return part(title, [controls(pick), place], [{ filter(text) { filter = text; found.filter(text); } }]);
}

const AXES = { round: "round", MB: "MB sent by all sites, up and down", seconds: "seconds of training, all sites one after the other" };
function curves(table) {
  const look = looks(table.rows), sites = [...new Set(table.curves.flatMap((row) => Object.keys(row.sites)))].sort();
  let axis = "round", site = "";
  const series = () => table.rows.map((row, number) => {
    const own = table.curves[number], line = site ? own.sites[site] : own.overall;
    if (!line) return { name: row.name, look: look[number], points: [] };
    const pairs = (key) => line[axis].map((at, index) => [at, line[key][index]]);
    return {
      name: row.title, look: look[number], points: pairs("mean"),
      band: line.low && line[axis].map((at, index) => [at, line.low[index], line.high[index]]),
      dots: site ? [] : own.selected.flatMap((round) => line.round.flatMap((at, index) => (at === round ? [pairs("mean")[index]] : []))),
    };
  });
  const options = () => ({ series: series(), x: AXES[axis], y: "validation PSNR, dB" });
  const found = chart({ ...options(), whole: true });
  const over = choice("Over", [["round", "rounds"], ["MB", "bytes"], ["seconds", "seconds"]], (value) => { axis = value; found.replace(options()); });
  const where = choice("Of", [["", "all site-tasks (mean)"], ...sites.map((name) => [name, name])], (value) => { site = value; found.replace(options()); });
  return part("Validation curves", [controls(over, where), found.element,
    soft("PSNR on the validation subjects. A line is the mean over seeds, its band reaches from the lowest to the highest seed, and both end where a seed " +
      "has no more values. A dot marks the selected round of a seed. At most 60 rounds are drawn, evenly spaced. Seconds are a rough guide: other runs " +
      "may have shared the machine.")], [found]);
}

// The test PSNR of each row against the bytes of its whole run.
function pareto(table) {
  const series = rowSeries(table.rows, table.pareto.map((point) => (point ? [point] : [])));
  if (!series.length) return NOTHING;
  const beats = ([sent, psnr], [other, score]) => sent <= other && psnr >= score && (sent < other || psnr > score);
  const front = series.filter(({ points: [own] }) => !series.some(({ points: [other] }) => beats(other, own)));
  const found = chart({ series, x: "MB of a whole run, all sites, up and down", y: "test PSNR, dB", log: true, marks: true });
  return part("Quality against communication", [found.element, soft("Higher is better, further left is cheaper. No row that sends as few bytes is better than " +
    `${front.map(({ name }) => name).join("; ")}. Methods that send nothing are drawn at 0.`)], [found]);
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
    ]);
    place.replaceChildren(found.element);
  }
  const first = Math.max(0, rows.findIndex((matrix) => matrix.flat().some((value) => value !== null)));
  show(first);
  const pick = choice("Method", table.rows.map(({ name }, number) => [number, name]), (number) => show(Number(number)));
  pick.querySelector("select").value = first;
  return part("Across sites", [controls(pick), place, soft("Test PSNR in dB of the model of one site (row) on the data of another (column), the mean over the " +
    "column's tasks and over seeds. Framed: a site's own model. Shaded: how far a cell is behind the best of them all.")]);
}

function newcomers(table) {
  const series = rowSeries(table.rows, table.newcomers);
  if (!series.length) return NOTHING;
  const found = chart({ series, x: "training subjects of the newcomer", y: "test PSNR, dB", whole: true });
  return part("Newcomers", [found.element, soft("Test PSNR at sites that took no part in training. At 0: with the model that the method sends to a newcomer, if it " +
    "sends one. Further right: after adapting to so many of the newcomer's training subjects. For local this is training from scratch.")], [found]);
}

function dataCard(table) {
  if (!table.card) return NOTHING;
  const { lines, histograms } = table.card, names = Object.keys(histograms);
  const found = sortable(Object.keys(lines[0]).map((name) => column(name, lines.map((line) => line[name]))));
  const contrasts = [...new Set(Object.values(histograms).flatMap(Object.keys))].sort();
  const charts = contrasts.map((contrast) => {
    const series = names.flatMap((site, number) => {
      const own = histograms[site][contrast];
      return own ? [{ name: site, look: look(number), points: own.map((share, bin) => [(bin + 0.5) / own.length, share]) }] : [];
    });
    return html("div", {}, html("h4", {}, contrast), chart({ series, x: "intensity", y: "share of pixels", height: 200 }).element);
  });
  return part("Data", [found.element, soft("For each site and split, the number of subjects and, in brackets, of slices."), html("div", { class: "charts" }, ...charts),
    soft("Intensities inside the foreground of at most 64 slices of each site, evenly spaced: the share of pixels in each of 40 bins.")]);
}

function baselines(table) {
  const heads = ["site", "task", "source itself", "mean image", "own table", "pooled table", "gap"];
  const found = sortable(heads.map((name, at) => column(name, table.baselines.map((row) => row[at]), at > 1 ? { print: (value) => value.toFixed(2), number: true } : {})));
  return part("Without training", [found.element, soft("Test PSNR in dB of predictions that need no network: the source itself, the mean image of the site's training " +
    "targets, and look-up tables that map each source intensity to its mean target intensity, fitted on the site's own training subjects (own table) or on those " +
    "of all sites with the same source (pooled table). The gap between the two tables measures how much the intensities of the sites differ: no single map " +
    "for all sites can close it.")]);
}
