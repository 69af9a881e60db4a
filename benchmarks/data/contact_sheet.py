"""Contact sheets: the middle slice of every subject of a site in each contrast, with its foreground outlined."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from fedsynth.federation import Site, Subject

TILE, GAP, LINE = 112, 4, 15  # pixels: side of a tile, gap between tiles, height of a line of text
BLOCKS, PAGE = 4, 120  # blocks of rows side by side; subjects on a page
OUTLINE = (255, 176, 0)
GROUND, TEXT = (24, 24, 24), (230, 230, 230)


def pages(site: Site) -> Iterator[Image.Image]:
    """The pages of a site's contact sheet, each of at most PAGE subjects, in the order of the site's arrays."""
    for start in range(0, len(site.subjects), PAGE):
        yield sheet(site, site.subjects[start : start + PAGE])


def sheet(site: Site, subjects: tuple[Subject, ...]) -> Image.Image:
    """One page. Rows are subjects, in up to BLOCKS blocks side by side; columns are contrasts."""
    blocks = min(BLOCKS, -(-len(subjects) // 8))
    down = -(-len(subjects) // blocks)
    wide, high = len(site.contrasts) * (TILE + GAP) + 3 * GAP, TILE + GAP + LINE
    font = ImageFont.load_default(12)
    what = "the middle slice of each, with its foreground outlined"
    title = f"{site.name}: {len(site.subjects)} subjects, {len(site.images)} slices; {what}"
    width = max(blocks * wide, round(font.getlength(title))) + 2 * GAP
    page = Image.new("RGB", (width, 2 * LINE + down * high + GAP), GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((GAP, 1), title, TEXT, font)
    for number, subject in enumerate(subjects):
        left, top = GAP + number // down * wide, 2 * LINE + number % down * high
        if number % down == 0:
            for column, contrast in enumerate(site.contrasts):
                draw.text((left + column * (TILE + GAP), LINE), contrast, OUTLINE, font)
        name = f"{subject.name}, {subject.split}, {subject.slices.stop - subject.slices.start} slices"
        draw.text((left, top), _shortened(name, wide - 2 * GAP, font), TEXT, font)
        middle = (subject.slices.start + subject.slices.stop) // 2
        for column, contrast in enumerate(site.contrasts):
            tile = outlined(site.images[middle, site.contrasts.index(contrast)], site.masks[middle])
            page.paste(tile, (left + column * (TILE + GAP), top + LINE))
    return page


def outlined(image: np.ndarray, mask: np.ndarray) -> Image.Image:
    """A slice in grey, scaled to a tile, with the inner edge of its foreground in colour."""
    zoom = TILE / max(image.shape)
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    grey = Image.fromarray(((image.astype(np.float32) + 1) * 127.5).round().clip(0, 255).astype(np.uint8))
    shown = np.array(grey.resize(size, Image.Resampling.BOX if zoom < 1 else Image.Resampling.NEAREST).convert("RGB"))
    head = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    shown[head & ~binary_erosion(head)] = OUTLINE
    return Image.fromarray(shown)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut so that it is at most `width` pixels wide."""
    while font.getlength(text) > width and len(text) > 1:
        text = text[:-2] + "…"
    return text
