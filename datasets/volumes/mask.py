"""The foreground of a subject: the head, found in a volume, or a given mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from fedsynth.federation import FederationError

from .intensity import clip_level
from .read import read_voxels
from .volume import Grid, Volume

GAP = 12.0  # mm
SKIN, CORE, UPPER = 4.0, 15.0, 90.0  # mm below the surface, and below the vertex
SAMPLED = 2.0  # mm between the voxels that are looked at inside a head
CROSS = ndimage.generate_binary_structure(2, 1)[:, :, None]


def foreground(voxels: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The head, bool `[X, Y, Z]`, of a volume with at least one positive voxel.

    Of the voxels above the clip level, structures thinner than 3 pixels in an axial slice are removed, and gaps up to 12 mm wide
    are closed, such as the skull between scalp and brain; the largest connected part is the head, and its holes are filled slice
    by slice.

    Args:
        voxels: The volume, its first axis to the right and its second to the front.
        spacing: The edges of a voxel, mm.
    """
    above = ndimage.binary_opening(voxels > clip_level(voxels), np.ones((3, 3, 1), bool))
    steps = max(1, round(GAP / 2 / float(np.sqrt(spacing[0] * spacing[1]))))
    wide = np.pad(above, ((steps, steps), (steps, steps), (0, 0)))  # closing erodes what touches the border
    closed = ndimage.binary_closing(wide, CROSS, steps)[steps:-steps, steps:-steps]
    parts, count = ndimage.label(closed)
    if not count:
        return above
    head = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(head[:, :, k]) for k in range(head.shape[2])], axis=2)


class Interior(NamedTuple):
    """What lies inside a head, of which about one voxel in 2 mm is looked at. Both bool `[X, Y, Z]`."""

    core: (
        np.ndarray
    )  # mostly brain: at least 15 mm below the surface and at most 90 mm below the vertex, above eyes and jaw
    shell: np.ndarray  # there too, but 4 to 15 mm below the surface, where a head has its skull


def interior(head: np.ndarray, spacing: Sequence[float]) -> Interior:
    """The core and the shell of a head; where it is thin, the core begins at half of its greatest depth."""
    every = tuple(slice(None, None, max(1, round(SAMPLED / edge))) for edge in spacing)
    thinned = head[every]
    sampling = [edge * (step.step or 1) for edge, step in zip(spacing, every, strict=True)]
    depth = ndimage.distance_transform_edt(thinned, sampling=sampling)
    vertex = np.flatnonzero(thinned.any(axis=(0, 1)))[-1]
    below = sampling[2] * (vertex - np.arange(thinned.shape[2]))
    core, shell = np.zeros_like(head), np.zeros_like(head)
    upper = thinned & (below <= UPPER)
    core[every] = upper & (depth >= min(CORE, depth[upper].max() / 2))
    shell[every] = upper & (depth > SKIN) & (depth < CORE)
    return Interior(core, shell)


def dark_share(voxels: np.ndarray, inside: Interior) -> float:
    """The share of the shell that is as dark as air: skull and sinuses make it 0.1 or more in T1, and
    a brain alone has 0.05 or less; in FLAIR the two are closer."""
    return float((voxels[inside.shell] < clip_level(voxels)).mean()) if inside.shell.any() else 0.0


def given_mask(path: Path, grid: Grid) -> Volume:
    """The mask in `path`, voxels bool, as HD-BET and SynthStrip write it.

    Raises FederationError unless the mask lies on `grid` and holds two values, one of them 0.
    """
    mask = read_voxels(path)
    if not mask.grid.same(grid):
        raise FederationError(
            f"{path} ({mask.grid}) is a mask on another grid than the volume of the reference contrast ({grid}); make it"
            " from that volume"
        )
    values = np.unique(mask.voxels)
    if len(values) != 2 or 0 not in values:
        raise FederationError(
            f"{path} holds {len(values)} values from {values[0]:g} to {values[-1]:g}, where a mask holds 0 and one other;"
            " give the mask, not the stripped volume"
        )
    return Volume(mask.voxels != 0, mask.grid)
