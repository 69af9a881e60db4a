// Validation curves: of all rows in one chart, or small ones side by side, for each row or for each site.

const AXES = { round: "round", MB: "MB sent by all sites, up and down", seconds: "seconds of training, all sites one after the other" };
const MANY_ROWS = 8, FIRST_CHARTS = 12; // more lines are not told apart in one chart; more charts are drawn at a click

function curves(table) {
  const look = looks(table.rows), sites = [...new Set(table.curves.flatMap((row) => Object.keys(row.sites)))].sort();
  const chosen = { view: "one", axis: "round", site: "", most: FIRST_CHARTS };
  const place = html("div"), more = html("button", { type: "button", onclick: () => { chosen.most = Infinity; show(); } });
  const keys = legend(table.rows.map(({ title: name }, number) => ({ name, look: look[number] })), false, show);

  function series(number, site) {
    const own = table.curves[number], line = site ? own.sites[site] : own.overall, { axis } = chosen;
    if (!line) return [];
    const pairs = (key) => line[axis].map((at, index) => [at, line[key][index]]);
    return [{
      name: table.rows[number].title, look: look[number], points: pairs("mean"),
      band: line.low && line[axis].map((at, index) => [at, line.low[index], line.high[index]]),
      dots: site ? [] : own.selected.flatMap((round) => line.round.flatMap((at, index) => (at === round ? [pairs("mean")[index]] : []))),
    }];
  }
  function show() {
    const { view, axis, site } = chosen, lines = referenceLines(table, "psnr", site), numbers = table.rows.flatMap(({ title }, number) => (keys.shows(title) ? [number] : []));
    const all = (of) => numbers.flatMap((number) => series(number, of));
    const panels = view === "row" ? numbers.map((number, place) => ({ title: table.rows[number].title, series: series(number, site), behind: all(site), lines, unnamed: place > 0 }))
      : view === "site" ? sites.map((of) => ({ title: of, series: all(of), lines: referenceLines(table, "psnr", of) }))
      : [{ title: "", series: all(site), lines }];
    const values = panels.flatMap((panel) => panel.series.flatMap(({ points, band }) => [...points, ...(band ?? [])].flatMap(([, ...own]) => own)));
    const range = values.length && reach(values, view === "row" ? lines : [], 0.3), shared = panels.length > 1 && range ? { range, height: 200 } : { height: 340 };
    if (view === "row" && range) panels.forEach((panel) => { panel.lines = lines.filter(([, value]) => value >= range[0] && value <= range[1]); });
    place.className = panels.length > 1 ? "charts" : "";
    more.hidden = panels.length <= chosen.most;
    more.textContent = `${chosen.most} of ${panels.length} charts: show all`;
    place.replaceChildren(...panels.slice(0, chosen.most).map(({ title, ...panel }) => html("div", {}, title && html("h4", {}, title),
      drawn((width) => picture({ x: AXES[axis], y: "validation PSNR, dB", whole: axis !== "round", counted: axis === "round", ...shared, ...panel, width })).canvas)));
  }
  const pick = (name, label, options, usual) => choice(name, label, options, (value) => { chosen[name] = value; show(); }, usual);
  const view = pick("view", "Shown in", [["one", "one chart"], ["row", "a chart for each row"], ["site", "a chart for each site"]], table.rows.length > MANY_ROWS ? "row" : "one");
  const over = pick("axis", "Over", [["round", "rounds"], ["MB", "bytes"], ["seconds", "seconds"]]);
  const where = pick("site", "Of", [["", "all site-tasks (mean)"], ...sites.map((name) => [name, name])]);
  keys.update();
  const figure = html("div", {}, place, more, keys.element);
  keys.buttons.append(saveFigure(figure, fileName(table.title, "curves")));
  return part("Validation curves", [controls(view, over, where), figure,
    soft("PSNR on the validation subjects. A line is the mean over seeds, its band reaches from the lowest to the highest seed, and both end where a seed " +
      "has no more values. A dot marks the selected round of a seed. In a chart for each row the others are grey. At most 60 rounds are drawn, evenly spaced. " +
      "Seconds are a rough guide: other runs may have shared the machine.")], [keys]);
}
