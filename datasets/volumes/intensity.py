"""What the intensities of one volume say about it: where tissue begins, and which to show as white."""

from __future__ import annotations

import numpy as np

CLIP_FRACTION = 0.25  # of the median of the foreground: tissue lies above, air noise (at an SNR of 15 or more) below
HEADROOM = 1.08  # the phantom's sites leave as much between their 99.5th percentile and white


def clip_level(voxels: np.ndarray) -> float:
    """The intensity that separates tissue from air: a quarter of the median of all voxels above it.

    AFNI's 3dClipLevel takes half. Approached from above, so that a volume of mostly air noise ends at its tissue. At least one
    voxel must be above 0.
    """
    voxels = voxels[voxels > 0]
    level = CLIP_FRACTION * float(np.percentile(voxels, 99.5))
    while (lower := CLIP_FRACTION * float(np.median(voxels[voxels > level]))) < 0.99 * level:
        level = lower
    return level


def white_level(voxels: np.ndarray) -> float:
    """The intensity to show as 1: 1.08 times the 99.5th percentile of what lies above the clip level."""
    return HEADROOM * float(np.percentile(voxels[voxels > clip_level(voxels)], 99.5))
