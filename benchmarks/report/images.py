"""The images of a report: every row's outputs at a site-task as one grey picture of tiles, small enough for a page."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .plots.gallery import error_end, psnr
from .plots.style import Entry

SIDES = (128, 96, 64)  # pixels of a tile's longer side, the largest that PIXELS allows
PIXELS = 28_000_000  # of all tiles of a page; a tile of brain and background takes about half a byte a pixel


@dataclass(frozen=True)
class Budget:
    """How large and how many the tiles of a page are."""

    side: int
    subjects: int

    @classmethod
    def of(cls, galleries: Sequence[tuple[int, Sequence[int]]]) -> Budget:
        """The largest tiles of most subjects with which all galleries fit; tiles shrink before subjects are left out.

        A gallery is told by its rows, and the number of subjects at each of its site-tasks.
        """
        most = max((count for _, counts in galleries for count in counts), default=1)
        for subjects in range(most, 0, -1):
            tiles = sum((rows + 2) * min(count, subjects) for rows, counts in galleries for count in counts)
            for side in SIDES:
                if tiles * side**2 <= PIXELS:
                    return cls(side, subjects)
        return cls(SIDES[-1], 1)


def sprite(entries: Sequence[Entry], place: str, budget: Budget) -> tuple[dict[str, Any], str]:
    """What is told of the tiles, and the picture as a data URI: a line a subject; source, target, then each row's output."""
    shown = [number for number, entry in enumerate(entries) if place in entry.gallery]
    known = entries[shown[0]].gallery[place]
    count = min(len(known["target"]), budget.subjects)
    outputs = [entries[number].gallery[place]["prediction"][:count] for number in shown]
    stacks = [shrunk(images[:count], budget.side) for images in (known["source"], known["target"], *outputs)]
    sheet = np.concatenate([np.concatenate(list(stack), axis=0) for stack in stacks], axis=1)
    out = io.BytesIO()
    Image.fromarray(sheet).save(out, "PNG")
    facts = {
        "place": place,
        "tile": list(stacks[0].shape[1:]),
        "size": list(known["target"].shape[1:]),
        "subjects": count,
        "of": len(known["target"]),
        "rows": shown,
        "psnr": [[round(psnr(o, t), 1) for o, t in zip(own, known["target"], strict=False)] for own in outputs],
        "end": error_end(outputs, known["target"][:count]),
    }
    return facts, f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"


def shrunk(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 [n, H, W] with its longer side at most `side`: means over squares of pixels."""
    step = -(-max(images.shape[1:]) // side)
    height, width = (length // step * step for length in images.shape[1:])
    squares = images[:, :height, :width].reshape(len(images), height // step, step, width // step, step)
    return np.asarray(squares.mean((2, 4)).round().astype(np.uint8))
