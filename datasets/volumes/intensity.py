"""Two intensities of a volume: the one at which tissue begins, and the one to show as white."""

from __future__ import annotations

import numpy as np

CLIP_FRACTION = (
    0.25  # of the median of the foreground; tissue is brighter, and noise in air darker if the SNR is 15 or more
)
HEADROOM = 1.08  # between the 99.5th percentile and white, as at the phantom's sites


def clip_level(voxels: np.ndarray) -> float:
    """The intensity that separates tissue from air: a quarter of the median of all voxels above it.

    AFNI's 3dClipLevel uses half of the median. The level is approached from above, so that it stops at the tissue even if most of
    the volume is noise in air. At least one voxel must be above 0.
    """
    voxels = voxels[voxels > 0]
    level = CLIP_FRACTION * float(np.percentile(voxels, 99.5))
    while (lower := CLIP_FRACTION * float(np.median(voxels[voxels > level]))) < 0.99 * level:
        level = lower
    return level


def white_level(voxels: np.ndarray) -> float:
    """The intensity to show as 1: 1.08 times the 99.5th percentile of the voxels above the clip level."""
    return HEADROOM * float(np.percentile(voxels[voxels > clip_level(voxels)], 99.5))
