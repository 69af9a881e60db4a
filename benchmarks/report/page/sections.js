// The parts of a table's tab. Each returns its elements, and what is to be told of the filter.

function leaderboard(table) {
  const shown = table.columns.filter((column) => !column.place);
  const found = board(shown, shown.findIndex((column) => column.name === "method"));
  const metrics = [...new Set(table.heat.metrics.map(({ label }) => label.split(" ")[0]))].filter((label) => shown.some(({ name }) => name.split(" ").includes(label)));
  const other = (name, metric) => metrics.some((label) => label !== metric && name.split(" ").includes(label));
  const wanted = {
    main: ({ main }) => main,
    all: () => true,
    ...Object.fromEntries(metrics.map((label) => [label, ({ name }) => !other(name, label)])),
  };
  const pick = choice("Columns", Object.keys(wanted).map((name) => [name, name]), (name) => found.columns((number) => wanted[name](shown[number])));
  found.columns((number) => shown[number].main);
  const lines = table.caption.map((line) => {
    const [lead, ...rest] = line.split(": ");
    return rest.length && lead.length < 45 ? html("li", {}, html("strong", {}, lead), ": ", ...prose(rest.join(": "))) : html("li", {}, ...prose(line));
  });
  return [[html("h3", {}, "Leaderboard"), html("div", { class: "controls" }, pick), found.element,
    html("details", { open: matchMedia("(min-width: 46rem)").matches }, html("summary", {}, "What the numbers are"), html("ul", { class: "soft" }, ...lines))], [found]];
}

const everySite = (table) => heatmap(table, table.heat, "Every site and task", "");
const askedTasks = (table) =>
  heatmap(table, table.asked, "Tasks that a site never trained", "What a site's model makes of a task that only other sites trained. ");

// How far a row is behind the best of each site and task, all on one scale.
function heatmap(table, heat, title, note) {
  if (!heat?.metrics.length) return [[], []];
  const { places, metrics } = heat;
  const place = html("div"), parts = [];
  function show(metric) {
    const { cells, better, digits } = metrics.find(({ name }) => name === metric);
    const best = places.map((_, at) => Math.max(...cells.filter((row) => row && row[at] !== null).map((row) => better * row[at])));
    const behind = cells.map((row) => row?.map((value, at) => (value === null ? null : best[at] - better * value)) ?? null);
    const worst = Math.max(...behind.flat().filter((value) => value !== null), 1e-12);
    const means = cells.map((row) => (row && row.every((value) => value !== null) ? row.reduce((sum, value) => sum + value, 0) / row.length : null));
    const print = (value) => (value === null ? "-" : value.toFixed(digits));
    const found = board([
      { name: "method", number: false, cells: table.rows.map(({ name }) => name), values: table.rows.map(({ name }) => name) },
      { name: "mean", number: true, cells: means.map(print), values: means },
      ...places.map((names, at) => ({
        name: names.join(" "), number: true,
        cells: cells.map((row) => print(row?.[at] ?? null)), values: cells.map((row) => row?.[at] ?? null),
        shades: behind.map((row) => (row?.[at] ?? 0) / worst), best: behind.map((row) => (row?.[at] === 0 ? 1 : 0)),
      })),
    ]);
    parts.splice(0, 1, found);
    place.replaceChildren(found.element, html("p", { class: "soft" },
      `${note}Shaded by the distance to the best of each column, all columns on one scale: none at the best, full at ${worst.toFixed(digits)} behind. ` +
      `${better > 0 ? "Higher" : "Lower"} is better.`));
    found.filter(filter);
  }
  let filter = "";
  show(metrics[0].name);
  const pick = choice("Metric", metrics.map(({ name, label }) => [name, label]), show);
  return [[html("h3", {}, title), html("div", { class: "controls" }, pick), place],
    [{ filter(text) { filter = text; parts[0].filter(text); } }]];
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
      name: row.diverged ? `${row.name} (${row.diverged} of ${row.seeds} diverged)` : row.name, look: look[number], points: pairs("mean"),
      band: line.low && line[axis].map((at, index) => [at, line.low[index], line.high[index]]),
      dots: site ? [] : own.selected.flatMap((round) => line.round.flatMap((at, index) => (at === round ? [pairs("mean")[index]] : []))),
    };
  });
  const options = () => ({ series: series(), x: AXES[axis], y: "validation PSNR, dB" });
  const found = chart({ ...options(), whole: true });
  const over = choice("Over", [["round", "rounds"], ["MB", "bytes"], ["seconds", "seconds"]], (value) => { axis = value; found.replace(options()); });
  const where = choice("Of", [["", "all site-tasks (mean)"], ...sites.map((name) => [name, name])], (value) => { site = value; found.replace(options()); });
  return [[html("h3", {}, "Validation curves"), html("div", { class: "controls" }, over, where), found.element,
    html("p", { class: "soft" }, "PSNR on the validation subjects. Lines are means over seeds, bands reach from the lowest to the highest seed, " +
      "as far as all seeds have a value; a dot marks a seed's selected round. At most 60 rounds are drawn, evenly spaced. " +
      "Seconds are indicative: other runs may have shared the machine.")], [found]];
}

function front(table) {
  const look = looks(table.rows);
  const series = table.rows.flatMap((row, number) => (table.front[number] ? [{ name: row.name, look: look[number], points: [table.front[number]] }] : []));
  if (!series.length) return [[], []];
  const best = series.filter(({ points: [[sent, psnr]] }) => !series.some(({ points: [[other, score]] }) => other <= sent && score >= psnr && (other < sent || score > psnr)));
  const found = chart({ series, x: "MB of a whole run, all sites, up and down", y: "test PSNR, dB", log: true, marks: true });
  return [[html("h3", {}, "Quality against communication"), found.element,
    html("p", { class: "soft" }, `No row is better for as few bytes as ${best.map(({ name }) => name).join("; ")}. Methods that send nothing stand at 0.`)], [found]];
}

// The model that serves one site, on the data of another.
function crossSite(table) {
  if (!table.cross) return [[], []];
  const { sites, rows } = table.cross, place = html("div");
  function show(number) {
    const matrix = rows[number], known = matrix.flat().filter((value) => value !== null);
    const best = Math.max(...known), worst = Math.min(...known);
    const found = board([
      { name: "model of", number: false, cells: sites, values: sites },
      ...sites.map((site, at) => ({
        name: `on ${site}`, number: true, cells: matrix.map((line) => (line[at] === null ? "-" : line[at].toFixed(2))), values: matrix.map((line) => line[at]),
        shades: matrix.map((line) => (line[at] === null ? 0 : (best - line[at]) / (best - worst || 1))), own: sites.map((_, row) => row === at),
      })),
    ]);
    place.replaceChildren(found.element);
  }
  const first = Math.max(0, rows.findIndex((matrix) => matrix.flat().some((value) => value !== null)));
  show(first);
  const pick = choice("Method", table.rows.map(({ name }, number) => [number, name]), (number) => show(Number(number)));
  pick.querySelector("select").value = first;
  return [[html("h3", {}, "Across sites"), html("div", { class: "controls" }, pick), place,
    html("p", { class: "soft" }, "Test PSNR in dB, the mean over a site's tasks and seeds: the model that serves the site of the row, on the data of the site of the " +
      "column. Framed: a site's own model. Shaded: how far behind the best of the matrix.")], []];
}

function newcomers(table) {
  const look = looks(table.rows);
  const series = table.rows.flatMap((row, number) => (table.newcomers[number].length ? [{ name: row.name, look: look[number], points: table.newcomers[number] }] : []));
  if (!series.length) return [[], []];
  const found = chart({ series, x: "training subjects of the newcomer", y: "test PSNR, dB", whole: true });
  return [[html("h3", {}, "Newcomers"), found.element,
    html("p", { class: "soft" }, "A site that took no part in training: at 0 what it gets before adaptation, where the method has something to send; then after adapting " +
      "on so many of its subjects. The line of local is training from scratch.")], [found]];
}

function card(table) {
  if (!table.card) return [[], []];
  const { lines, histograms } = table.card, heads = Object.keys(lines[0]);
  const found = board(heads.map((name) => ({ name, number: false, cells: lines.map((line) => line[name]), values: lines.map((line) => line[name]) })));
  const names = Object.keys(histograms), contrasts = [...new Set(Object.values(histograms).flatMap(Object.keys))].sort();
  const panels = contrasts.map((contrast) => {
    const series = names.flatMap((site, number) => {
      const own = histograms[site][contrast];
      return own ? [{ name: site, look: { colour: `var(--c${number % common.colours})`, dash: DASHES[Math.floor(number / common.colours) % DASHES.length], mark: "circle" },
        points: own.map((share, bin) => [(bin + 0.5) / own.length, share]) }] : [];
    });
    return html("div", {}, html("h4", {}, contrast), chart({ series, x: "intensity", y: "share of pixels", height: 200 }).element);
  });
  return [[html("h3", {}, "Data"), found.element, html("p", { class: "soft" }, "Subjects (slices) of every site in each split."),
    html("div", { class: "panels" }, ...panels),
    html("p", { class: "soft" }, "Intensities inside the foreground, from at most 64 slices of each site, evenly spaced: share of pixels in each of 40 bins.")], []];
}

function untrained(table) {
  const heads = ["site", "task", "source itself", "mean image", "own table", "pooled table", "gap"];
  const found = board(heads.map((name, at) => {
    const values = table.untrained.map((row) => row[at]), number = at > 1;
    return { name, number, values, cells: values.map((value) => (value === null ? "-" : number ? value.toFixed(2) : value)) };
  }));
  return [[html("h3", {}, "Without training"), found.element,
    html("p", { class: "soft" }, "Test PSNR in dB of what needs no network: the source offered as the target, the mean training target, and a table that maps each source " +
      "intensity to its mean target, fitted on the site's own training subjects or on those of all sites with the same source. The gap between " +
      "the two tables is how much the sites differ in intensity: what one map for all cannot express.")], []];
}
