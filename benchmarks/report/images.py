"""The images of a report: the outputs of every row at a site-task as tiles of one grey picture, small enough for a page."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .plots.images.gallery import error_scale_end, slice_psnr
from .plots.plotted_row import PlottedRow

SIDES = (128, 96, 64)  # pixels of a tile's longer side; the largest that PIXELS allows is used
PIXELS = 28_000_000  # of all tiles of a page; as PNG a tile of brain and background takes about half a byte a pixel


@dataclass(frozen=True)
class TileBudget:
    """The size of a page's tiles, and how many subjects are shown."""

    side: int
    subjects: int

    @classmethod
    def of(cls, galleries: Sequence[tuple[int, Sequence[int]]]) -> TileBudget:
        """The most subjects, and for them the largest tiles, with which all galleries fit.

        A gallery is given by the number of its rows, and the number of subjects at each of its site-tasks. Tiles shrink before
        subjects are left out.
        """
        most = max((count for _, counts in galleries for count in counts), default=1)
        for subjects in range(most, 0, -1):
            tiles = sum((rows + 2) * min(count, subjects) for rows, counts in galleries for count in counts)
            for side in SIDES:
                if tiles * side**2 <= PIXELS:
                    return cls(side, subjects)
        return cls(SIDES[-1], 1)


def tile_picture(rows: Sequence[PlottedRow], site_task: str, budget: TileBudget) -> tuple[dict[str, Any], str]:
    """What the page says of the tiles, and the picture as a data URI.

    A line of the picture is a subject: the source, the target, then the output of each row that has images.
    """
    shown = [number for number, row in enumerate(rows) if site_task in row.gallery]
    known = rows[shown[0]].gallery[site_task]
    count = min(len(known["target"]), budget.subjects)
    outputs = [rows[number].gallery[site_task]["prediction"][:count] for number in shown]
    stacks = [downsampled(images[:count], budget.side) for images in (known["source"], known["target"], *outputs)]
    picture = np.concatenate([np.concatenate(list(stack), axis=0) for stack in stacks], axis=1)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    facts = {
        "site_task": site_task,
        "tile": list(stacks[0].shape[1:]),
        "size": list(known["target"].shape[1:]),
        "subjects": count,
        "of": len(known["target"]),
        "rows": shown,
        "psnr": [[round(slice_psnr(o, t), 1) for o, t in zip(own, known["target"], strict=False)] for own in outputs],
        "end": error_scale_end(outputs, known["target"][:count]),
    }
    return facts, f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"


def downsampled(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 [n, H, W] with a longer side of at most `side`: means over squares of pixels."""
    step = -(-max(images.shape[1:]) // side)
    height, width = (length // step * step for length in images.shape[1:])
    squares = images[:, :height, :width].reshape(len(images), height // step, step, width // step, step)
    return np.asarray(squares.mean((2, 4)).round().astype(np.uint8))
