// Source, every row's output, target and errors of one subject of a site-task.

function gallery(table, number) {
  if (!table.images.length) return [[], []];
  const tiles = html("div", { class: "tiles" }), scale = html("canvas", { class: "heat", width: 256, height: 1 });
  const slider = html("input", { type: "range", min: 1, max: 1, value: 1, oninput: draw });
  const told = html("span"), end = html("span"), size = html("p", { class: "soft" });
  let current = 0, filter = "", picture = null;
  paint(scale.getContext("2d"), 256, 1, (at) => heat(at / 255));

  async function open(place) {
    current = Number(place);
    const facts = table.images[current], loaded = new Image();
    loaded.src = data(`images-${number}-${place}`);
    await loaded.decode();
    const sheet = html("canvas", { width: loaded.width, height: loaded.height });
    const context = sheet.getContext("2d", { willReadFrequently: true });
    context.drawImage(loaded, 0, 0);
    picture = (column, row) => context.getImageData(column * facts.tile[1], row * facts.tile[0], facts.tile[1], facts.tile[0]).data;
    slider.max = facts.subjects;
    slider.value = Math.min(slider.value, facts.subjects);
    end.textContent = `${facts.end.toFixed(2)} or more`;
    size.textContent = `Tiles of ${facts.tile.join(" x ")} pixels${facts.tile[0] < facts.size[0] ? `, reduced from ${facts.size.join(" x ")}` : ""}; ` +
      `${facts.subjects} of the ${facts.of} test subjects that runs keep.`;
    draw();
  }
  function draw() {
    if (!picture) return;
    const facts = table.images[current], row = Number(slider.value) - 1, [source, target] = facts.place.split("/").at(-1).split("->");
    const sourced = picture(0, row), wanted = picture(1, row);
    told.textContent = `${row + 1} of ${facts.subjects}`;
    const shown = table.rows.map(({ name, diverged, missing }, index) => {
      const column = facts.rows.indexOf(index);
      if (!fits(name, filter)) return null;
      if (column < 0) return html("figure", {}, html("figcaption", {}, name), html("small", {}, diverged ? "diverged: no image" : missing.length ? "a hole: no image" : "no image"));
      return tile(name, picture(column + 2, row), wanted, facts, `${facts.psnr[column][row].toFixed(1)} dB`);
    });
    tiles.replaceChildren(tile(`source ${source.split("+")[0]}`, sourced, null, facts, ""), tile(`target ${target}`, wanted, null, facts, ""), ...shown.filter(Boolean));
  }
  function tile(name, pixels, wanted, facts, score) {
    const [height, width] = facts.tile;
    const image = html("canvas", { width, height, role: "img", "aria-label": name });
    paint(image.getContext("2d"), width, height, (at) => [pixels[4 * at], pixels[4 * at], pixels[4 * at]]);
    const error = html("canvas", { width, height, role: "img", class: wanted ? null : "none", "aria-label": wanted ? `error of ${name}` : "" });
    if (wanted) paint(error.getContext("2d"), width, height, (at) => heat(Math.abs(pixels[4 * at] - wanted[4 * at]) / 255 / facts.end));
    return html("figure", {}, html("figcaption", {}, arrow(name)), image, error, html("small", {}, score));
  }
  open(0);
  const pick = choice("Site and task", table.images.map(({ place }, index) => [index, place.replace("/", ", ")]), open);
  return [[html("h3", {}, "Images"),
    html("div", { class: "controls" }, pick, html("label", {}, "Subject", slider, told)), tiles,
    html("div", { class: "controls" }, html("label", {}, "absolute error: 0", scale, end)),
    html("p", { class: "soft" }, "The middle slices of the first test subjects, as made by the selected round of each row's first seed; no slice was chosen for its result. " +
      "Below every output is its absolute error, in units of the image intensity, which lies in [0, 1], and the PSNR of that slice at full size. " +
      "Errors of a site-task share a colour scale, which ends at their 99.5th percentile."), size],
    [{ filter(text) { filter = text; draw(); } }]];
}

function heat(share) {
  const at = 6 * Math.round(255 * Math.min(1, Math.max(0, share)));
  return [0, 2, 4].map((part) => parseInt(common.heat.slice(at + part, at + part + 2), 16));
}

function paint(context, width, height, colour) {
  const image = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++) image.data.set([...colour(at), 255], 4 * at);
  context.putImageData(image, 0, 0);
}
