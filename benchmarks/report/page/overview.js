// What is told of all tables together, and of the runs and failures.

function overview() {
  const { tables, ranks, scarce } = data("overview");
  const column = (name, key, number = true) => {
    const values = tables.map((table) => table[key]);
    return { name, number, values, cells: values.map(String) };
  };
  const smoke = tables.map((table) => (table.smoke ? "smoke run" : "ranked"));
  const found = board([column("table", "title", false), column("rows", "rows"), column("seeds", "seeds"), column("runs", "runs"),
    column("holes", "holes"), column("diverged", "diverged"), { name: "kind", number: false, values: smoke, cells: smoke }]);
  return [[html("h2", {}, "Overview"), found.element, ...ladder(ranks), ...scarce.flatMap(few)], [found]];
}

// Mean ranks with their intervals, and bars over rows that do not differ by more than the critical difference.
function ladder(ranks) {
  const head = html("h3", {}, "Mean ranks over scenarios");
  if (ranks.reason) return [head, html("p", {}, `No ranks: ${ranks.reason}.`)];
  const canvas = html("div", { class: "chart" }), count = ranks.names.length, line = 22, top = 40;
  function draw() {
    const width = canvas.clientWidth, bars = 8 * ranks.cliques.length + 12;
    if (!width) return;
    const left = Math.min(220, width * 0.42), right = width - bars, height = top + line * count + 8;
    const px = (rank) => left + ((rank - 1) / (count - 1)) * (right - left - 12);
    const py = (row) => top + line * (row + 0.5);
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Mean ranks" });
    const step = Math.ceil((40 * count) / (right - left));
    for (let rank = 1; rank <= count; rank += step)
      drawing.append(svg("line", { class: "grid", x1: px(rank), x2: px(rank), y1: top - 6, y2: height - 8 }), svg("text", { x: px(rank), y: top - 12, "text-anchor": "middle" }, rank));
    drawing.append(svg("line", { class: "axis", x1: px(1), x2: Math.min(px(1 + ranks.critical), right), y1: 8, y2: 8, "stroke-width": 3 }), svg("text", { x: left - 8, y: 12, "text-anchor": "end" }, `critical ${ranks.critical.toFixed(2)}`));
    ranks.names.forEach((name, row) => {
      drawing.append(svg("text", { x: left - 8, y: py(row) + 4, "text-anchor": "end" }, name.length * 6.4 > left ? `${name.slice(0, Math.floor(left / 6.8))}…` : name, svg("title", {}, name)),
        svg("line", { class: "axis", x1: px(ranks.low[row]), x2: px(ranks.high[row]), y1: py(row), y2: py(row) }),
        mark(px(ranks.mean[row]), py(row), { mark: "circle", colour: "var(--c0)" }));
    });
    if (ranks.p < 0.05) ranks.cliques.forEach(([first, last], number) =>
      drawing.append(svg("line", { class: "axis", x1: right + 8 * number + 6, x2: right + 8 * number + 6, y1: py(first) - 6, y2: py(last) + 6, "stroke-width": 4 })));
    canvas.replaceChildren(drawing);
  }
  new ResizeObserver(draw).observe(canvas);
  const verdict = ranks.p < 0.05 ? "bars on the right join rows that it cannot tell apart (Nemenyi, critical difference)" : "it draws no difference, so no bars are drawn";
  return [head, canvas, html("p", { class: "soft" }, `Of the rows that all ${ranks.blocks.length} ranked tables have; 1 is the best. Lines are 95 % t intervals over tables. ` +
    `Friedman's test: p ${ranks.p < 0.001 ? "< 0.001" : `= ${ranks.p.toFixed(3)}`}; ${verdict}.`)];
}

function few({ title, rows }) {
  const names = Object.keys(rows), look = looks(names.map((name) => ({ method: name.split(/[ /]/)[0] })));
  const found = chart({ series: names.map((name, number) => ({ name, look: look[number], points: rows[name] })), x: "training subjects of a site", y: "test PSNR, dB", log: true });
  return [html("h3", {}, `Few training subjects: ${title}`), found.element, html("p", { class: "soft" }, "Test PSNR of the selected round, the mean over site-tasks and seeds; a point a table.")];
}

function runs() {
  const { rows, versions } = data("runs");
  const heads = ["run", "outcome", "selected round", "commit", "device", "finished (UTC)", "record"];
  const found = board(heads.map((name, at) => ({ name, number: at === 2, values: rows.map((row) => row[at]), cells: rows.map((row) => row[at] ?? "-") })));
  const made = Object.entries(versions).map(([name, all]) => `${name} ${all.join(" and ")}`).join(", ");
  return [[html("h2", {}, "Runs and versions"), found.element,
    html("p", { class: "soft" }, "A run's name ends with the hash of its identity: options, data and code. The last column begins the SHA-256 of its record.json, which holds those of its tables."),
    html("p", { class: "soft" }, `Made with ${made || "versions that are not recorded"}.`)], [found]];
}

function failures() {
  const rows = data("failures"), heads = ["run or row", "outcome", "failed attempts", "reason"];
  if (!rows.length) return [[html("h2", {}, "Failures"), html("p", {}, "None: every run of the store is finished, none diverged, and no row has a hole.")], []];
  const found = board(heads.map((name, at) => ({ name, number: at === 2, wrap: at === 3, values: rows.map((row) => row[at]), cells: rows.map((row) => String(row[at])) })));
  return [[html("h2", {}, "Failures"), found.element], [found]];
}
