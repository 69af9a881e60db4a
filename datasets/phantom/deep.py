"""Ventricles and deep grey nuclei, as simple solids that are the same on the left and on the right."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .shapes import capsule, edge, ellipsoid, join

# The joints of the lateral ventricle from the frontal to the occipital horn: x, y, z, radius (mm).
HORNS = (
    (16, 33, 1, 2.6),
    (8.5, 22, 9, 4.4),
    (9.5, 2, 19, 4.6),
    (13, -22, 19, 5.2),
    (23, -38, 9, 6.2),
    (23, -58, 5, 2.6),
)
TEMPORAL_HORN = ((24, -36, 6, 4.2), (30, -14, -12, 2.4))


class Deep:
    """The ventricles and nuclei of one subject. The ventricles widen with age; `old` is that of `Cortex`."""

    def __init__(self, rng: np.random.Generator, old: float) -> None:
        self._wide = max(0.6, (1 + 0.10 * rng.standard_normal()) * (1 + 0.62 * old))
        self._nuclei = 1 + 0.03 * rng.standard_normal()

    def ventricles(self, p: np.ndarray) -> np.ndarray:
        """Signed distance `[n]` of points `p` `[3, n]` from the lateral and third ventricles."""
        q = np.stack([np.abs(p[0]), p[1], p[2]])
        sticks = [
            capsule(q, a[:3], b[:3], a[3] * self._wide, b[3] * self._wide) for a, b in (*pairwise(HORNS), TEMPORAL_HORN)
        ]
        lateral = sticks[0]
        for stick in sticks[1:]:
            lateral = join(lateral, stick, 3)
        lateral = np.maximum(lateral, np.float32(1.1) - q[0])  # the septum separates left and right
        return np.minimum(lateral, ellipsoid(p, (0, -8, -3), (1.5 * self._wide + 0.6, 11, 9)))

    def nuclei(self, p: np.ndarray, width: float) -> dict[str, np.ndarray]:
        """Shares `[n]` of striatum, pallidum and thalamus at points `p` `[3, n]`. They do not overlap."""
        q = np.stack([np.abs(p[0]), p[1], p[2]]) * np.float32(1 / self._nuclei)
        caudate = join(
            ellipsoid(q, (13.5, 17, 9), (6.2, 11, 11), 0.35), capsule(q, (14.5, 10, 17), (19, -14, 21), 3.4, 2.2), 3
        )
        striatum = edge(np.minimum(caudate, ellipsoid(q, (27.5, 4, 3), (6, 16, 11.5), 0.22)), width)
        pallidum = edge(ellipsoid(q, (20.5, 0, 1), (5.2, 9.5, 7.5), 0.35), width) * (1 - striatum)
        thalamus = edge(ellipsoid(q, (10.5, -15, 8), (8.2, 14.5, 10), -0.35), width) * (1 - striatum) * (1 - pallidum)
        return {"striatum": striatum, "pallidum": pallidum, "thalamus": thalamus}
