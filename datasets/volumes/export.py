"""Slices back to NIfTI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def export(
    stack: np.ndarray, rows: Sequence[int], affine: np.ndarray, like: Path, out: Path, white: float = 1.0
) -> None:
    """Write slices `[N, H, W]` in [-1, 1], such as a generator's, to `out` on the grid of the source volume `like`.

    `rows` and `affine` are those of `Processed`, for a `like` in the world of the reference contrast; `quality[contrast].motion @
    affine` is the affine for another contrast's volume. Intensities are `(x + 1) / 2 * white`, 0 where no slice lies.
    """
    raise NotImplementedError
