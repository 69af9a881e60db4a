"""Relaxation times and proton densities of tissues at 1.5 T and 3 T.

The values are rounded from the middle of published ranges of in-vivo relaxometry, which differ by some 20 % between methods: T1
of white matter 550-700 / 750-950 ms, of cortex 950-1150 / 1200-1600 ms, of CSF about 4 s; T2 of white matter 65-85 ms, of cortex
80-110 ms. Those of lesions lie inside reported ranges and are chosen so that contrasts have the right order; they are not fitted
to data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NAMES = (
    "wm", "gm", "csf", "striatum", "thalamus", "pallidum", "fat",
    "bone", "marrow", "muscle", "necrosis", "tumour", "oedema", "wmh",
)  # fmt: skip
INDEX = {name: row for row, name in enumerate(NAMES)}
LESIONS = [INDEX[name] for name in ("necrosis", "tumour", "oedema", "wmh")]


class Tissues(NamedTuple):
    """Properties of tissues: arrays of one shape, whose last axis is the tissue."""

    t1: np.ndarray  # ms
    t2: np.ndarray  # ms
    t2star: np.ndarray  # ms
    pd: np.ndarray  # proton density, relative to CSF


# T1, T2, T2* (ms), relative proton density; rows as NAMES
_1_5T = (
    (640, 76, 62, 0.70), (1030, 95, 78, 0.82), (4000, 2000, 1000, 1.0), (920, 88, 66, 0.80), (830, 84, 64, 0.78),
    (760, 74, 48, 0.75), (260, 80, 50, 0.85), (350, 4, 1.5, 0.12), (380, 65, 30, 0.45), (880, 48, 30, 0.78),
    (2300, 380, 250, 0.95), (1350, 135, 100, 0.88), (1250, 165, 120, 0.88), (1000, 130, 100, 0.80),
)  # fmt: skip
_3T = (
    (850, 70, 50, 0.70), (1340, 88, 62, 0.82), (4200, 1800, 700, 1.0), (1200, 78, 48, 0.80), (1090, 76, 50, 0.78),
    (980, 60, 32, 0.75), (370, 72, 36, 0.85), (400, 3, 0.9, 0.12), (480, 55, 18, 0.45), (1250, 42, 24, 0.78),
    (2700, 350, 200, 0.95), (1700, 125, 80, 0.88), (1550, 150, 95, 0.88), (1250, 120, 80, 0.80),
)  # fmt: skip
AT_FIELD = {1.5: Tissues(*np.array(_1_5T).T), 3.0: Tissues(*np.array(_3T).T)}


def of_subject(field: float, rng: np.random.Generator) -> Tissues:
    """The tissues of one person. In each tissue people differ by about 3.5 % in relaxation times and 2 % in proton density."""
    typical = AT_FIELD[field]
    t1, t2, pd = np.exp(rng.standard_normal((3, len(NAMES))) * [[0.035], [0.035], [0.02]])
    return Tissues(typical.t1 * t1, typical.t2 * t2, typical.t2star * t2, typical.pd * pd)
