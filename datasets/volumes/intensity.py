"""Intensities of a volume: where tissue begins, how bright the brightest is, and which one to show as white."""

from __future__ import annotations

import numpy as np

CLIP_FRACTION = (
    0.25  # of the median of the foreground; tissue is brighter, and noise in air darker if the SNR is 15 or more
)
BRIGHTEST = 99.5  # percentile
HEADROOM = 1.08  # between that percentile and white, as at the phantom's sites


def clip_level(voxels: np.ndarray) -> float:
    """The intensity that separates tissue from air: a quarter of the median of all voxels above it.

    AFNI's 3dClipLevel uses half of the median. The level is approached from above, so that it stops at the tissue even if most of
    the volume is noise in air. At least one voxel must be above 0.
    """
    voxels = voxels[voxels > 0]
    level = CLIP_FRACTION * float(np.percentile(voxels, BRIGHTEST))
    while (lower := CLIP_FRACTION * float(np.median(voxels[voxels > level]))) < 0.99 * level:
        level = lower
    return level


def bright_level(voxels: np.ndarray) -> float:
    """The 99.5th percentile of the voxels above the clip level; in a head with its scalp that is fat."""
    return float(np.percentile(voxels[voxels > clip_level(voxels)], BRIGHTEST))


def white_level(voxels: np.ndarray, core: np.ndarray) -> float:
    """The intensity to show as 1: 1.08 times the 99.5th percentile in the head's core (mask.py), where scalp cannot set it."""
    return HEADROOM * float(np.percentile(voxels[core], BRIGHTEST))
