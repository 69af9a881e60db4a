// The tabs of all tables together, of the runs and of the failures.

const FAULTS = {
  holes: "A hole is a seed for which a row has no finished run while other rows have one; a row with a hole has no score.",
  diverged: "How many runs diverged.",
  "below floor": "How many runs ended with a validation PSNR below that of copying the source.",
};

function overview() {
  const { tables, ranks, scarce, scores } = data("overview");
  const faults = ["holes", "diverged", "below floor"].filter((name) => tables.some((table) => table[name]));
  const counts = ["rows", "seeds", "runs", ...faults].map((name) => column(name, tables.map((table) => table[name]), { number: true, tip: FAULTS[name] }));
  const found = sortable([column("table", tables.map(({ title }) => title), { link: (row) => `#table-${row}` }),
    column("who leads", tables.map((table) => table["who leads"]), { wrap: true, long: true }), column("ranks", tables.map(({ ranks }) => ranks)), ...counts], { sort: "sort", file: "tables" });
  const meaning = soft("Why a table is not ranked stands above it; a smoke run only shows that methods run.");
  return [[html("h2", {}, "Overview"), found.element, meaning, ...meanRanks(ranks), ...tableAgainstTable(tables, scores), ...scarce.flatMap(byTrainSize)], [found]];
}

// Rows by their full names; without the network where all have the same one.
function withoutNetwork(names) {
  const tails = new Set(names.map((name) => name.slice(name.indexOf("/"))));
  return names.map((name) => ({ name: tails.size === 1 ? name.slice(0, name.indexOf("/")) : name, method: name.split(/[ /]/)[0] }));
}

// The scores of the rows that two tables have in common, one table across and the other up.
function tableAgainstTable(tables, scores) {
  const titles = tables.map(({ title }, number) => [number, title]), shared = (a, b) => Object.keys(scores[a]).filter((name) => name in scores[b]);
  const pairs = titles.flatMap(([a]) => titles.flatMap(([b]) => (a < b && shared(a, b).length > 1 ? [[a, b]] : [])));
  if (!pairs.length) return [];
  const place = html("div"), chosen = { across: 0, up: 0, of: 0 };
  function show() {
    const { across, up, of } = chosen, names = shared(across, up);
    const points = names.map((name) => [scores[across][name][of], scores[up][name][of]]), kept = names.map((_, at) => at).filter((at) => points[at].every((value) => value !== null));
    const what = ["test PSNR, dB", "gain over local, dB"][of];
    const found = chart({ series: rowSeries(withoutNetwork(kept.map((at) => names[at])), kept.map((at) => [points[at]])), height: 420,
      x: what, y: what, marks: true, diagonal: true, file: fileName("tables", across, up) });
    place.replaceChildren(soft(`Across: ${tables[across].title}; upwards: ${tables[up].title}. The line is where both are the same.`), found.element);
  }
  const pick = (name, label, options, usual) => choice(name, label, options, (value) => { chosen[name] = Number(value); show(); }, usual);
  const picks = [pick("across", "Across", titles, String(pairs[0][0])), pick("up", "Up", titles, String(pairs[0][1])), pick("of", "Of", [[0, "score"], [1, "gain over local"]])];
  return [html("h3", {}, "One table against another"), controls(...picks), place];
}

// Mean ranks with their intervals, and bars over rows whose mean ranks differ by less than the critical difference.
function meanRanks(ranks) {
  const head = html("h3", {}, "Mean ranks over scenarios");
  if (ranks.reason) return [head, html("p", {}, `No ranks: ${ranks.reason}.`)];
  const count = ranks.names.length;
  const canvas = drawn((width) => {
    const { drawing, px, py, left, right } = rowsDrawing(ranks.names, width, [1, count], "mean rank; 1 is the best", { head: 24, margin: 8 * ranks.cliques.length + 12, whole: true });
    drawing.append(svg("line", { class: "axis", x1: px(1), x2: Math.min(px(1 + ranks.critical), right), y1: 12, y2: 12, "stroke-width": 3 }),
      svg("text", { x: left - 8, y: 16, "text-anchor": "end" }, `CD ${ranks.critical.toFixed(2)}`));
    ranks.names.forEach((name, row) => drawing.append(svg("g", { class: "series" }, svg("title", {}, name),
      svg("line", { class: "axis", x1: px(ranks.low[row]), x2: px(ranks.high[row]), y1: py(row), y2: py(row) }), marker(px(ranks.mean[row]), py(row), look(0)))));
    if (ranks.p < 0.05) ranks.cliques.forEach(([first, last], number) => {
      const x = right + 8 * number + 6;
      drawing.append(svg("line", { class: "axis", x1: x, x2: x, y1: py(first) - 6, y2: py(last) + 6, "stroke-width": 4 }));
    });
    return drawing;
  }).canvas;
  const verdict = ranks.p < 0.05 ? "Bars on the right join rows whose mean ranks differ by no more than Nemenyi's critical difference (CD)." : "It finds no difference, so no bars are drawn.";
  return [head, canvas, saveFigure(canvas, "mean-ranks"), soft(`Ranks among the rows that are in all ${ranks.blocks.length} ranked tables; 1 is the best. Lines are 95 % t intervals over tables. ` +
    `Friedman's test: p ${ranks.p < 0.001 ? "< 0.001" : `= ${ranks.p.toFixed(3)}`}. ${verdict}`)];
}

function byTrainSize({ title, rows }) {
  const names = withoutNetwork(Object.keys(rows));
  const found = chart({ series: rowSeries(names, Object.values(rows)), x: "training subjects of a site", y: "test PSNR, dB", beside: true, file: fileName(title),
    at: [...new Set(Object.values(rows).flat().map(([count]) => count))].sort((a, b) => a - b) });
  return [html("h3", {}, `Few training subjects: ${title}`), found.element, soft("Test PSNR of the selected round, the mean over site-tasks and seeds; each point is from another table. Bars are 95 % intervals.")];
}

const RUN = {
  run: "Leads to the record, or to the archive that has it. The name ends with the hash of the run's identity: options, data and code.",
  score: "Test PSNR of the selected round in dB, the mean over site-tasks.",
  seconds: "Of all training.",
  record: "The first digits of the SHA-256 of record.json, which in turn holds the hashes of the run's tables.",
};

function runs() {
  const { rows, heads, versions } = data("runs"), addresses = data("addresses"), numbers = ["seed", "score", "seconds", "selected round"];
  const print = { score: (value) => value.toFixed(2), seconds: (value) => value.toFixed(0) };
  const columns = heads.map((name, at) => column(name, rows.map((row) => row[at]), { number: numbers.includes(name), print: print[name],
    link: at === 0 ? (row) => addresses[row] : undefined, tip: RUN[name] }));
  const found = sortable(columns, { score: heads.indexOf("score"), sort: "sort", file: "runs", found: (row) => rows[row].slice(0, 4).join(" ") });
  const made = Object.entries(versions).map(([name, all]) => `${name} ${all.join(" and ")}`).join(", ");
  return [[html("h2", {}, "Runs and versions"), found.element,
    soft(`A heading says what its column means. Filters look at the run, its method, its network and its seed. Made with ${made || "versions that are not recorded"}.`)], [found]];
}

function failures() {
  const rows = data("failures"), heads = ["run or row", "outcome", "failed attempts", "reason"];
  if (!rows.length) return [[html("h2", {}, "Failures"), html("p", {}, "None: every run of the store is finished, none diverged, and no row has a hole.")], []];
  const found = sortable(heads.map((name, at) => column(name, rows.map((row) => row[at]), { number: at === 2, wrap: at === 3 })), { sort: "sort", file: "failures" });
  return [[html("h2", {}, "Failures"), found.element], [found]];
}
