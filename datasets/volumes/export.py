"""Slices, such as a generator's, written as a volume that lies on the subject's own, for a viewer to overlay."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from fedsynth.federation import FederationError
from fedsynth.runtime.atomic import write_atomically

from .read import source


def export_volume(
    stack: np.ndarray, rows: Sequence[int], affine: np.ndarray, like: Path, out: Path, white: float = 1.0
) -> None:
    """Write slices `[N, H, W]` in [-1, 1] to `out` (.nii or .nii.gz) as float32, on the grid of the source volume `like`.

    `rows` and `affine` are those of `Processed` if `like` is the reference contrast's volume; for that of a registered contrast
    the affine is `quality[contrast].motion @ affine`. Intensities are `(x + 1) / 2 * white`, interpolated linearly, and 0
    wherever the nearest slice is not among the given ones. Raises FederationError if `out` is `like`, if the stack does not fit
    `rows`, or if `like` cannot be read.
    """
    if stack.ndim != 3 or len(stack) != len(rows):
        raise FederationError(f"a stack of shape {stack.shape} does not fit {len(rows)} slices; give [N, H, W]")
    if not out.name.endswith((".nii", ".nii.gz")):
        raise FederationError(f"{out} must end in .nii or .nii.gz")
    if out.exists() and like.exists() and out.samefile(like):
        raise FederationError(f"{out} is the source volume itself; write to another file")
    target = source(like, 0)
    depth = max(rows) + 1
    filled = np.zeros((depth, *stack.shape[1:]), np.float32)
    filled[list(rows)] = (np.asarray(stack, np.float32) + 1) / 2 * white
    there = np.zeros(depth, np.float32)
    there[list(rows)] = 1
    matrix = np.linalg.solve(affine, target.affine)[[2, 0, 1, 3]]  # to (slice, row, column), the axes of the stack
    voxels, weights = (
        ndimage.affine_transform(values, matrix[:3, :3], matrix[:3, 3], target.shape, order=1, mode="grid-constant")
        for values in (filled, np.broadcast_to(there[:, None, None], filled.shape))
    )
    near = weights >= 0.5  # the nearest slice is given; if the next one is not, it counts alone
    image = nibabel.Nifti1Image(np.where(near, voxels / np.where(near, weights, 1), 0), target.affine)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, gzip.compress(content, 1, mtime=0) if out.name.endswith(".gz") else content)
