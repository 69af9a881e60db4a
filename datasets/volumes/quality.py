"""How good a registration is, in numbers that need no true motion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from skimage.metrics import normalized_mutual_information

from .mask import foreground
from .register import BINS, coarse
from .resample import onto, reached
from .volume import Volume

EDGE = 2.0  # mm, of the voxels that are compared
# A registration is poor below these; tests/datasets/volumes/test_register.py has right and wrong ones on either side.
LEAST_MI = 1.05
LEAST_DICE = 0.8
LEAST_GAIN = 0.95  # of the mutual information before; below 1, since interpolation alone costs a little
SCALES = (0.75, 1.33)  # the least and the most by which an affine motion may stretch a head


class Quality(NamedTuple):
    """How good one registration is."""

    mi_before: float  # normalised mutual information inside the fixed volume's head: 1 if independent, 2 if identical
    mi_after: float
    dice_before: float  # Dice overlap of the two heads where both volumes reach, 0 to 1
    dice_after: float
    motion: np.ndarray  # float64 [4, 4], mm: a point in the fixed volume's world -> the same point in the moving one's
    poor: bool  # whether a number is below its least value above, or the motion stretches a head beyond `SCALES`


def registration_quality(fixed: Volume, moving: Volume, motion: np.ndarray) -> Quality:
    """Compare two volumes as their headers place them, and under `motion`, on the grid of `fixed` with voxels of about 2 mm."""
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
    head, heads = (foreground(each, fixed.grid.edges) for each in (fixed.voxels, other))
    head &= there
    overlap = 2 * float((head & heads).sum()) / max(1, float(head.sum() + heads.sum()))
    one, two = fixed.voxels[head], other[head]
    if len(one) < BINS or np.ptp(one) == 0 or np.ptp(two) == 0:
        return 1.0, overlap  # constant intensities carry no information
    return float(normalized_mutual_information(one, two, bins=BINS)), overlap
