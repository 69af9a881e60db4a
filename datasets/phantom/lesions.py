"""Lesions: a tumour with its oedema and its mass effect, and white-matter hyperintensities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .fields import Fields, PixelGrid
from .shapes import edge
from .tissues import INDEX


class Tumour:
    """A mass like a glioma, with a necrotic core, a solid rim, and finger-like oedema that spares the cortex."""

    def __init__(self, rng: np.random.Generator, grid: PixelGrid) -> None:
        side = rng.choice([-1.0, 1.0])
        self._centre = np.array([side * rng.uniform(20, 40), rng.uniform(-45, 38), rng.uniform(4, 34)], np.float32)
        self._radius = rng.uniform(9, 19)
        self._core = rng.uniform(0.45, 0.75)
        self._oedema = rng.uniform(6, 20)
        self._shift = rng.uniform(2, 6)
        self._fields = Fields(rng, grid, {"coarse": 26, "fine": 16, "core": 18, "fingers": 17})

    def displaced(self, p: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Where the tissue that is now at `p` `[3, n]` was before the tumour pushed it outwards; the surface does not move."""
        offset = p - self._centre[:, None]
        distance = np.sqrt((offset**2).sum(0)) + 1
        reach = 2.2 * self._radius
        push = np.float32(self._shift) * np.exp(-((distance / np.float32(reach)) ** 2) / 2) * np.clip(depth / 15, 0, 1)
        return p - offset * (push / distance)

    def invade(self, shares: np.ndarray, z: float, where: np.ndarray, p: np.ndarray, width: float) -> None:
        """Let the tumour take its part of the healthy `shares` `[K, n]` of pixels `where` of slice z, at points `p` `[3, n]`."""
        field = {name: value.reshape(-1)[where] for name, value in self._fields.at(z).items()}
        distance = np.sqrt(((p - self._centre[:, None]) ** 2).sum(0))
        surface = np.float32(self._radius) * (1 + np.float32(0.22) * field["coarse"] + np.float32(0.08) * field["fine"])
        mass = edge(distance - surface, width)
        core = edge(distance - np.float32(self._core) * surface * (1 + np.float32(0.3) * field["core"]), width)
        spread = np.float32(self._oedema) * (1 + np.float32(0.55) * field["fingers"])
        swollen = edge(distance - surface - spread, 2 * width)
        for tissue, affected in (("wm", 0.95), ("wmh", 0.95), ("gm", 0.25)):
            moved = shares[INDEX[tissue]] * swollen * np.float32(affected)
            shares[INDEX[tissue]] -= moved
            shares[INDEX["oedema"]] += moved
        shares *= 1 - mass
        shares[INDEX["necrosis"]], shares[INDEX["tumour"]] = mass * core, mass * (1 - core)


def hyperintensities(load: float, field: Mapping[str, np.ndarray], ventricles: np.ndarray, width: float) -> np.ndarray:
    """Share `[n]` of the white matter that is hyperintense: caps and rims around the ventricles, and small foci."""
    rim = edge(ventricles - np.float32(load) * (np.float32(2.2) + np.float32(2.2) * field["rim"]), 1.5 * width)
    foci = edge((np.float32(2.75 - 0.62 * load) - field["foci"]) * np.float32(3), width)
    return np.maximum(rim, foci)
