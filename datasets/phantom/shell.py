"""The layers around the brain: fluid, skull with its marrow, temporal muscle, fat and skin."""

from __future__ import annotations

import numpy as np

from .shapes import edge
from .tissues import INDEX

SKIN = 1.8  # mm


class Shell:
    """The layers of one subject. Their thickness is measured from the brain's hull outwards, along the ray from its centre."""

    def __init__(self, rng: np.random.Generator, old: float) -> None:
        self.rim = 1.6 + 2.8 * old + 0.5 * abs(rng.standard_normal())  # CSF between brain and skull
        self._bone = rng.uniform(5.5, 8)
        self._fat = rng.uniform(3, 6.5)

    def shares(
        self, p: np.ndarray, out: np.ndarray, inside: np.ndarray, field: dict[str, np.ndarray], width: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tissue shares `[K, n]` of the layers, and the share `[n]` of each pixel inside the skin.

        `p` `[3, n]` are the pixels, `out` `[n]` their height above the hull, `inside` `[n]` their share below it.
        """
        shares = np.zeros((len(INDEX), p.shape[1]), np.float32)
        side = _temple(p)
        bone = np.float32(self._bone) * (1 - np.float32(0.4) * side)  # thin at the temples, where the muscle lies
        fat = np.maximum(np.float32(self._fat) + np.float32(1.2) * field["fat"], 1) * (1 - np.float32(0.5) * side)
        diploe = np.abs(out - np.float32(self.rim) - bone / 2) - bone * (
            np.float32(0.21) + np.float32(0.09) * field["marrow"]
        )
        covered, top = inside, np.zeros((), np.float32)
        for name, thickness in (
            ("csf", self.rim),
            ("bone", bone),
            ("muscle", 6 * side),
            ("fat", fat),
            ("muscle", SKIN),
        ):
            top = top + thickness
            upto = np.maximum(edge(out - top, width), covered)
            shares[INDEX[name]] += upto - covered
            covered = upto
        spongy = shares[INDEX["bone"]] * edge(diploe, 0.5 + width)
        shares[INDEX["marrow"]] = spongy
        shares[INDEX["bone"]] -= spongy
        return shares, covered


def _temple(p: np.ndarray) -> np.ndarray:
    """How much the temporal muscle covers the skull at points `p`, in [0, 1]: at the sides, below z = 26 mm."""
    return edge(p[2] - 20, 3) * edge(np.abs(p[1] - 12) - 24, 5) * edge(45 - np.abs(p[0]), 3)
