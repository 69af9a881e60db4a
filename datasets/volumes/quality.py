"""How well a registration went, in numbers that need no truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from skimage.metrics import normalized_mutual_information

from .mask import foreground
from .register import BINS, coarse
from .resample import onto, reached
from .volume import Volume

EDGE = 2.0  # mm, of the voxels that are compared
# below, a registration is poor: tests/datasets/test_volumes_register.py holds right and wrong ones to either side
LEAST_MI = 1.05
LEAST_DICE = 0.8
LEAST_GAIN = 0.95  # of the mutual information before; interpolation alone costs a little
SCALES = (0.75, 1.33)  # by which an affine motion may stretch a head


class Quality(NamedTuple):
    """How one registration went."""

    mi_before: float  # normalised mutual information inside the fixed volume's head: 1 for independent, 2 for identical
    mi_after: float
    dice_before: float  # overlap of the two heads where both volumes reach, 0 to 1
    dice_after: float
    motion: np.ndarray  # float64 [4, 4], mm: a point of the fixed volume's world -> the same point in this one's
    poor: bool  # one of the numbers is below what is stated above, or the motion stretches a head beyond `SCALES`


def registration_quality(fixed: Volume, moving: Volume, motion: np.ndarray) -> Quality:
    """Both volumes compared under the headers' agreement and under `motion`, on fixed's grid brought to voxels of about 2 mm."""
    seen = coarse(fixed, EDGE)
    before, after = (_agreement(seen, moving, each) for each in (np.eye(4), motion))
    scales = np.linalg.svd(motion[:3, :3], compute_uv=False)
    poor = (
        after[0] < max(LEAST_MI, LEAST_GAIN * before[0])
        or after[1] < LEAST_DICE
        or scales.max() > SCALES[1]
        or scales.min() < SCALES[0]
    )
    return Quality(before[0], after[0], before[1], after[1], motion, bool(poor))


def _agreement(fixed: Volume, moving: Volume, motion: np.ndarray) -> tuple[float, float]:
    """Normalised mutual information (Studholme et al. 1999) and Dice coefficient."""
    there = reached(fixed.grid, moving.grid, motion)
    other = np.where(there, onto(fixed.grid, moving, motion), 0)
    if not (other > 0).any():
        return 1.0, 0.0
    head, heads = foreground(fixed.voxels) & there, foreground(other)
    overlap = 2 * float((head & heads).sum()) / max(1, float(head.sum() + heads.sum()))
    one, two = fixed.voxels[head], other[head]
    if len(one) < BINS or np.ptp(one) == 0 or np.ptp(two) == 0:
        return 1.0, overlap  # what is constant tells nothing
    return float(normalized_mutual_information(one, two, bins=BINS)), overlap
