// Images of one subject of a site-task: the source, the target, the output of every row and its error.

function gallery(table, number) {
  if (!table.images.length) return NOTHING;
  const tiles = html("div", { class: "tiles" }), scale = html("canvas", { class: "scale", width: 256, height: 1 });
  const slider = html("input", { type: "range", min: 1, max: 1, value: 1, oninput: draw });
  const position = html("span"), end = html("span"), size = html("p", { class: "soft" });
  let current = 0, fits = () => true, pixelsOf = null;
  paint(scale, (at) => errorColour(at / 255));

  async function open(place) {
    current = Number(place);
    const facts = table.images[current], [height, width] = facts.tile, picture = new Image();
    picture.src = data(`images-${number}-${place}`);
    await picture.decode();
    const context = html("canvas", { width: picture.width, height: picture.height }).getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    pixelsOf = (column, row) => context.getImageData(column * width, row * height, width, height).data;
    slider.max = facts.subjects;
    slider.value = Math.min(slider.value, facts.subjects);
    end.textContent = `${facts.end.toFixed(2)} or more`;
    size.textContent = `Tiles of ${facts.tile.join(" x ")} pixels${height < facts.size[0] ? `, reduced from ${facts.size.join(" x ")}` : ""}; ` +
      `${facts.subjects} of the ${facts.of} test subjects whose images are kept.`;
    draw();
  }
  function draw() {
    if (!pixelsOf) return;
    const facts = table.images[current], row = Number(slider.value) - 1, [source, target] = facts.site_task.split("/").at(-1).split("->");
    const wanted = pixelsOf(1, row);
    position.textContent = `${row + 1} of ${facts.subjects}`;
    const outputs = table.rows.map(({ name, title, diverged, missing }, index) => {
      const column = facts.rows.indexOf(index);
      if (!fits(name)) return null;
      if (column < 0) return html("figure", {}, html("figcaption", {}, name), html("small", {}, diverged ? "diverged: no image" : missing.length ? "a hole: no image" : "no image"));
      return tile(title, pixelsOf(column + 2, row), wanted, facts, `${facts.psnr[column][row].toFixed(1)} dB`);
    });
    tiles.replaceChildren(tile(`source ${source.split("+")[0]}`, pixelsOf(0, row), null, facts, ""), tile(`target ${target}`, wanted, null, facts, ""), ...outputs.filter(Boolean));
  }
  function tile(name, pixels, wanted, facts, score) {
    const [height, width] = facts.tile;
    const image = html("canvas", { width, height, role: "img", "aria-label": name });
    paint(image, (at) => [pixels[4 * at], pixels[4 * at], pixels[4 * at]]);
    const error = html("canvas", { width, height, role: "img", class: wanted ? null : "none", "aria-label": wanted ? `error of ${name}` : "" });
    if (wanted) paint(error, (at) => errorColour(Math.abs(pixels[4 * at] - wanted[4 * at]) / 255 / facts.end));
    return html("figure", {}, html("figcaption", {}, arrow(name)), image, error, html("small", {}, score));
  }
  const pick = choice("images", "Site and task", table.images.map(({ site_task: name }, index) => [index, name.replace("/", ", ")]), open);
  return part("Images", [controls(pick, html("label", {}, "Subject", slider, position)), tiles,
    controls(html("label", {}, "absolute error: 0", scale, end)),
    soft("The middle slices of the first test subjects, as the selected round of each row's first seed makes them; no slice was chosen for its result. Below every " +
      "output are its absolute error, in units of the image intensity, which lies in [0, 1], and the PSNR of that slice at full size. All errors of a site-task " +
      "share a colour scale, which ends at their 99.5th percentile."), size],
    [{ filter(test) { fits = test; draw(); } }]);
}

// The colour of an error as a share (0 to 1) of the scale's end.
function errorColour(share) {
  const at = 6 * Math.round(255 * Math.min(1, Math.max(0, share)));
  return [0, 2, 4].map((channel) => parseInt(common.errors.slice(at + channel, at + channel + 2), 16));
}

function paint(canvas, colour) {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < canvas.width * canvas.height; at++) image.data.set([...colour(at), 255], 4 * at);
  context.putImageData(image, 0, 0);
}
