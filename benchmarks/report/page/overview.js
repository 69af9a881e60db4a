// The tabs of all tables together, of the runs and of the failures.

function overview() {
  const { tables, ranks, scarce, scores } = data("overview");
  const counts = ["rows", "seeds", "runs", "holes", "diverged", "below floor"].map((name) => column(name, tables.map((table) => table[name]), { number: true }));
  const found = sortable([column("table", tables.map(({ title }) => title), { link: (row) => `#table-${row}` }), ...counts,
    column("ranks", tables.map(({ ranks }) => ranks)), column("who leads", tables.map((table) => table["who leads"]), { wrap: true })], { sort: "sort", file: "tables" });
  const meaning = soft("A hole is a seed for which a row has no finished run while other rows have one; a row with a hole has no score. Why a table is " +
    "not ranked stands above it; a smoke run only shows that methods run. A run is below the floor if its last validation PSNR is below that of copying the source.");
  return [[html("h2", {}, "Overview"), found.element, meaning, ...meanRanks(ranks), ...tableAgainstTable(tables, scores), ...scarce.flatMap(byTrainSize)], [found]];
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
    const found = chart({ series: rowSeries(kept.map((at) => ({ name: names[at], method: names[at].split(/[ /]/)[0] })), kept.map((at) => [points[at]])), height: 420,
      x: `${what}: ${tables[across].title}`, y: what, marks: true, diagonal: true, file: fileName("tables", across, up) });
    place.replaceChildren(soft(`Upwards: ${tables[up].title}. The line is where both are the same.`), found.element);
  }
  const pick = (name, label, options, usual) => choice(name, label, options, (value) => { chosen[name] = Number(value); show(); }, usual);
  const picks = [pick("across", "Across", titles, String(pairs[0][0])), pick("up", "Up", titles, String(pairs[0][1])), pick("of", "Of", [[0, "score"], [1, "gain over local"]])];
  return [html("h3", {}, "One table against another"), controls(...picks), place];
}

// Mean ranks with their intervals, and bars over rows whose mean ranks differ by less than the critical difference.
function meanRanks(ranks) {
  const head = html("h3", {}, "Mean ranks over scenarios");
  if (ranks.reason) return [head, html("p", {}, `No ranks: ${ranks.reason}.`)];
  const count = ranks.names.length, line = 22, top = 40;
  const canvas = drawn((width) => {
    const bars = 8 * ranks.cliques.length + 12;
    const left = Math.min(220, width * 0.42), right = width - bars, height = top + line * count + 8;
    const px = (rank) => left + ((rank - 1) / (count - 1)) * (right - left - 12);
    const py = (row) => top + line * (row + 0.5);
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Mean ranks" });
    const step = Math.ceil((40 * count) / (right - left));
    for (let rank = 1; rank <= count; rank += step)
      drawing.append(svg("line", { class: "grid", x1: px(rank), x2: px(rank), y1: top - 6, y2: height - 8 }), svg("text", { x: px(rank), y: top - 12, "text-anchor": "middle" }, rank));
    drawing.append(svg("line", { class: "axis", x1: px(1), x2: Math.min(px(1 + ranks.critical), right), y1: 8, y2: 8, "stroke-width": 3 }),
      svg("text", { x: left - 8, y: 12, "text-anchor": "end" }, `CD ${ranks.critical.toFixed(2)}`));
    ranks.names.forEach((name, row) => {
      const short = name.length * 6.4 > left ? `${name.slice(0, Math.floor(left / 6.8))}…` : name;
      drawing.append(svg("text", { x: left - 8, y: py(row) + 4, "text-anchor": "end" }, short, svg("title", {}, name)),
        svg("line", { class: "axis", x1: px(ranks.low[row]), x2: px(ranks.high[row]), y1: py(row), y2: py(row) }),
        marker(px(ranks.mean[row]), py(row), look(0)));
    });
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
  const names = Object.keys(rows).map((name) => ({ name, method: name.split(/[ /]/)[0] }));
  const found = chart({ series: rowSeries(names, Object.values(rows)), x: "training subjects of a site", y: "test PSNR, dB", log: true, file: fileName(title),
    at: [...new Set(Object.values(rows).flat().map(([count]) => count))].sort((a, b) => a - b) });
  return [html("h3", {}, `Few training subjects: ${title}`), found.element, soft("Test PSNR of the selected round, the mean over site-tasks and seeds; each point is from another table.")];
}

function runs() {
  const { rows, heads, versions } = data("runs"), addresses = data("addresses"), numbers = ["seed", "score", "seconds", "selected round"];
  const print = { score: (value) => value.toFixed(2), seconds: (value) => value.toFixed(0) };
  const columns = heads.map((name, at) => column(name, rows.map((row) => row[at]), { number: numbers.includes(name), print: print[name],
    link: at === 0 ? (row) => addresses[row] : undefined }));
  const found = sortable(columns, { sort: "sort", file: "runs", found: (row) => rows[row].slice(0, 4).join(" ") });
  const made = Object.entries(versions).map(([name, all]) => `${name} ${all.join(" and ")}`).join(", ");
  return [[html("h2", {}, "Runs and versions"), found.element,
    soft("The name of a run leads to its record, or to the archive that has it. The score is the test PSNR of the selected round in dB, the mean over site-tasks; seconds are those of all training. " +
      "Filters look at the run, its method, its network and its seed."),
    soft("The name of a run ends with the hash of its identity: options, data and code. The column record has the first digits of the SHA-256 of its record.json, which in " +
      "turn holds the hashes of its tables."),
    soft(`Made with ${made || "versions that are not recorded"}.`)], [found]];
}

function failures() {
  const rows = data("failures"), heads = ["run or row", "outcome", "failed attempts", "reason"];
  if (!rows.length) return [[html("h2", {}, "Failures"), html("p", {}, "None: every run of the store is finished, none diverged, and no row has a hole.")], []];
  const found = sortable(heads.map((name, at) => column(name, rows.map((row) => row[at]), { number: at === 2, wrap: at === 3 })), { sort: "sort", file: "failures" });
  return [[html("h2", {}, "Failures"), found.element], [found]];
}
