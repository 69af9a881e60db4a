"""NIfTI volumes of an analytic head, stored in any way, and sites made of them, for tests."""

from __future__ import annotations

import struct
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
from nibabel.testing import data_path

from fedsynth.datasets.nifti import Nifti

SHAPE = (21, 26, 12)  # of the volumes, right, front, up
SPACING = (4.0, 4.0, 6.0)  # mm
DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
SCANS = Path(data_path)  # that nibabel ships inside its own package


def head(points: np.ndarray, contrast: str = "T1") -> np.ndarray:
    """Intensity in [0, 1000) of a smooth head, unlike itself in any mirror, at points `[..., 3]` in mm."""
    x, y, z = np.moveaxis(points, -1, 0)
    body = np.maximum(0, 1 - (x / 34) ** 2 - (y / 44) ** 2 - (z / 30) ** 2) ** (0.5 if contrast == "T1" else 0.3)
    return 1000 * body * (0.5 + x / 160 + y / 190 + z / 200) * (1 if contrast == "T1" else 0.8 - y / 250)


def sampled(
    codes="RAS", shape=SHAPE, spacing=SPACING, contrast="T1", shift=(0.0, 0.0, 0.0)
) -> tuple[np.ndarray, np.ndarray]:
    """The head on one and the same grid of points whatever the axes it is stored along, and the affine of that storage."""
    affine, extents = np.eye(4), []
    for i, code in enumerate(codes):
        axis, sign = DIRECTIONS[code]
        affine[:3, i] = 0
        affine[axis, i] = sign * spacing[axis]
        first = -(shape[axis] // 2) if sign > 0 else shape[axis] - 1 - shape[axis] // 2
        affine[axis, 3] = first * spacing[axis] + shift[axis]
        extents.append(shape[axis])
    points = np.stack([*np.indices(extents), np.ones(extents)], axis=-1) @ affine.T
    return head(points[..., :3], contrast), affine


def turned(voxels: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same volume stored along other axes, by nibabel."""
    target = nibabel.orientations.axcodes2ornt(codes)
    transform = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), target)
    image = nibabel.Nifti1Image(voxels, affine).as_reoriented(transform)
    return image.get_fdata(), image.affine


def write(
    path: Path, voxels=None, affine=None, dtype=np.float32, slope=0.0, inter=0.0, kind=nibabel.Nifti1Image, order="<"
) -> Path:
    """Save intensities as they are, or with a slope (NIfTI-1 only) as the numbers that `slope * number + inter` gives back."""
    if voxels is None:
        voxels, affine = sampled()
    if slope:
        voxels = (voxels - inter) / slope
    if np.dtype(dtype).kind in "iu":
        voxels = voxels.round()
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(kind(voxels.astype(dtype), affine, header), path)
    assert nibabel.load(path).header.endianness == order
    if slope:  # nibabel saves none of its own choosing for numbers that need none
        raw = bytearray(path.read_bytes())
        raw[112:120] = struct.pack(f"{order}2f", slope, inter)
        path.write_bytes(raw)
    return path


def four_subjects(folder: Path) -> Path:
    """A site of four subjects with T1 and T2."""
    for subject, contrast in product(["ann", "bob", "cyd", "dan"], ["T1", "T2"]):
        write(folder / subject / f"{contrast}.nii.gz", *sampled(contrast=contrast))
    return folder


def dataset(folder: Path, **options) -> Nifti:
    return Nifti(**({"sites": {"north": str(folder)}, "size": 32, "spacing": 4.0} | options))
