"""The folded cortex and the course of its sulci.

Sulci are the zero sets of two band-pass fields. The points at which these are sampled are pushed away from the centre of the
brain, so that the sheets stand about perpendicular to its surface; each of the two systems reaches to its own depth. The
interhemispheric and the Sylvian fissures are plates.
"""

from __future__ import annotations

import numpy as np

from .fields import Folds
from .shapes import ellipsoid

CENTRE = np.array([[0], [0], [6]], np.float32)  # of the brain, mm


class Cortex:
    """The folding of one subject, in mm. `old` in [0, 1.2] is 0 up to 45 years of age and 1 at 85."""

    def __init__(self, rng: np.random.Generator, old: float) -> None:
        self._systems = (Folds(rng, 36, 32), Folds(rng, 24, 40))
        self._gap = 0.42 + 0.75 * old + 0.1 * abs(rng.standard_normal())
        self.thickness = 2.9 * (1 - 0.12 * old) * (1 + 0.05 * rng.standard_normal())

    def sulci(
        self, p: np.ndarray, r: np.ndarray, depth: np.ndarray, swirl: np.ndarray, reach: np.ndarray
    ) -> np.ndarray:
        """Signed distance `[n]` of points `p` `[3, n]` from the CSF of the nearest sulcus.

        `r` is the norm in the hull (1 on its surface), `depth` the distance below the surface. The unit fields `swirl` `[3, n]`
        and `reach` `[n]` bend the sheets and vary their depth.
        """
        push = np.maximum(r, np.float32(0.15)) ** np.float32(-0.6)
        points = (p - CENTRE) * push + swirl * (np.float32(2.6) * np.clip(depth / 8, 0, 1))
        sheet = _fissures(p + swirl)
        for folds, limit in zip(self._systems, (22 + 4 * reach, 15 - 4 * reach), strict=True):
            below = np.maximum(depth - limit, 0)  # a rounded fundus
            sheet = np.minimum(sheet, np.sqrt((folds.distance(points) / push) ** 2 + below**2))
        return sheet - np.float32(self._gap) * (np.float32(0.55) + np.float32(0.9) * np.clip(1 - depth / 20, 0, 1))


def _fissures(p: np.ndarray) -> np.ndarray:
    """Distance `[n]` from the nearest of the midline fissure and the Sylvian fissures with the clefts over the insulae."""
    x, y, z = np.abs(p[0]), p[1], p[2]
    callosum = np.maximum(-ellipsoid(p, (0, -4, 8), (60, 43, 25)), 0)
    midline = np.sqrt(x * x + callosum**2)
    outside_z = np.maximum(np.abs(z - 3) - 11, 0)
    insula = np.sqrt((x - 41 + (y - 2) ** 2 / 80) ** 2 + np.maximum(np.abs(y - 2) - 19, 0) ** 2 + outside_z**2)
    limb = np.sqrt((y - 4 - np.float32(0.25) * (x - 41)) ** 2 + np.maximum(41 - x, 0) ** 2 + outside_z**2)
    return np.minimum(midline, np.minimum(insula, limb))
