"""Heads in three dimensions for tests, analytic or from the phantom, stored with any order of axes."""

from __future__ import annotations

import gzip
import locale
import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from nibabel.testing import data_path
from numpy.typing import DTypeLike
from scipy import ndimage

from fedsynth.datasets.phantom.scanner import Scan
from fedsynth.datasets.phantom.sites import PRESETS, hospital
from fedsynth.datasets.volumes.mask import foreground
from fedsynth.datasets.volumes.resample import reached
from fedsynth.datasets.volumes.volume import Grid, Volume

SHAPE = (21, 26, 12)  # of the volumes, right, front, up
SPACING = (4.0, 4.0, 6.0)  # mm
DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
SCANS = Path(data_path)  # nibabel ships these inside its package
SERIES = "1.2.826.0.1.3680043.2.1125.1"
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def head(points: np.ndarray, contrast: str = "T1") -> np.ndarray:
    """The intensity in [0, 1000) of a smooth head that differs from each of its mirror images, at points `[..., 3]` in mm."""
    x, y, z = np.moveaxis(points, -1, 0)
    body = np.maximum(0, 1 - (x / 34) ** 2 - (y / 44) ** 2 - (z / 30) ** 2) ** (0.5 if contrast == "T1" else 0.3)
    return 1000 * body * (0.5 + x / 160 + y / 190 + z / 200) * (1 if contrast == "T1" else 0.8 - y / 250)


def sampled(
    codes: str = "RAS",
    shape: Sequence[int] = SHAPE,
    spacing: Sequence[float] = SPACING,
    contrast: str = "T1",
    shift: Sequence[float] = (0.0, 0.0, 0.0),
) -> tuple[np.ndarray, np.ndarray]:
    """The head on the same grid of points along whichever axes it is stored, and the affine of that storage."""
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


def write(
    path: Path,
    voxels: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    dtype: DTypeLike = np.float32,
    slope: float = 0.0,
    inter: float = 0.0,
    kind: Any = nibabel.Nifti1Image,
    order: str = "<",
) -> Path:
    """Save intensities as they are, or with a slope (NIfTI-1 only) as the numbers that `slope * number + inter` gives back."""
    if voxels is None:
        voxels, affine = sampled()
    assert voxels is not None
    if slope:
        voxels = (voxels - inter) / slope
    if np.dtype(dtype).kind in "iu":
        voxels = voxels.round()
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(kind(voxels.astype(dtype), affine, header), path)
    assert nibabel.load(path).header.endianness == order
    if slope:  # nibabel chooses no slope of its own for numbers that need none
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            raw = bytearray(file.read())
        raw[112:120] = struct.pack(f"{order}2f", slope, inter)
        with opened(path, "wb") as file:
            file.write(raw)
    return path


@cache
def phantom(site: str = "ixi", edge: float = 2.0, person: str = "volume") -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The head of a subject of the phantom: contrast -> voxels float32 `[X, Y, Z]` of `edge` mm, all in register, with the
    noise of the site's scanner, and their affine."""
    preset = hospital(
        PRESETS[site],
        nuisance=0,
        bias=1,
        same_protocol=False,
        same_quality=False,
        same_population=False,
        keep_skull=True,
        same_fov=False,
    )
    pixels = round(240 / edge)
    scan = Scan(replace(preset, fov=pixels * edge), (0, site, person), pixels, 0)
    heights = np.arange(-66, 92, edge)
    stack = 1000 * np.stack([scan.slice(z)[0] for z in heights])  # up, contrast, back, right
    first = -(pixels - 1) / 2 * edge
    affine = np.array([[edge, 0, 0, first], [0, edge, 0, first], [0, 0, edge, heights[0]], [0, 0, 0, 1]])
    turned = {c: stack[:, i, ::-1].transpose(2, 1, 0).astype(np.float32) for i, c in enumerate(preset.acquisitions)}
    return turned, affine


def rigid(degrees: Sequence[float], mm: Sequence[float]) -> np.ndarray:
    """A motion `[4, 4]`: turns about the axes x, y and z through a point inside the head, then a shift."""
    about, motion = np.array([0.0, 0.0, 15.0]), np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        motion[:3, :3] = turn @ motion[:3, :3]
    motion[:3, 3] = about - motion[:3, :3] @ about + mm
    return motion


def acquired(
    voxels: np.ndarray, affine: np.ndarray, motion: np.ndarray, grid: np.ndarray, shape: Sequence[int]
) -> np.ndarray:
    """What a scanner would see of the head after `motion`, on `shape` voxels that `grid` `[4, 4]` places: the mean over five
    points through the thickness of each slice, by cubic interpolation."""
    total = np.zeros(shape)
    for part in (-0.4, -0.2, 0.0, 0.2, 0.4):
        x, y, z = np.indices(shape)
        points = np.stack([x, y, z + part, np.ones(shape)]).reshape(4, -1)
        places = np.linalg.solve(affine, np.linalg.solve(motion, grid @ points))[:3]
        total += ndimage.map_coordinates(voxels, places, order=3).reshape(shape) / 5
    return total.clip(0)


def series(
    folder: Path, voxels: np.ndarray, affine: np.ndarray, slope: float = 1.0, uid: str = SERIES, prefix: str = "IM"
) -> Path:
    """The volume as one file a slice, named so that their names sort the other way round than their positions."""
    folder.mkdir(parents=True, exist_ok=True)
    language = locale.setlocale(locale.LC_ALL)  # which writing DICOM changes; reading does not
    lps = TO_LPS @ affine
    edges = np.linalg.norm(lps[:3, :3], axis=0)
    cosines = (lps[:3, :3] / edges)[:, :2].T.ravel()
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(voxels.shape[2]):
        image = SimpleITK.GetImageFromArray((np.round(voxels[:, :, k].T / slope) * slope).astype(np.int16)[None])
        image.SetSpacing(edges.tolist())
        tags = {
            "0008|0060": "MR",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"{uid}.{k + 1}",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0020|000e": uid,
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{x:.8g}" for x in (lps @ [0, 0, k, 1])[:3]),
            "0020|0037": "\\".join(f"{x:.8f}" for x in cosines),
            "0018|0050": f"{edges[2]:g}",
            "0028|1053": f"{slope:g}",
            "0028|1052": "0",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{prefix}{voxels.shape[2] - k:03d}.dcm"))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, language)
    return folder


def volume(voxels: np.ndarray, affine: np.ndarray) -> Volume:
    x, y, z = voxels.shape
    return Volume(np.asarray(voxels, np.float32), Grid((x, y, z), affine))


def off(found: np.ndarray, truth: np.ndarray, fixed: Volume, moving: Volume) -> float:
    """The largest error of a motion over the part of the head that `moving` shows, in voxels of its, along any of its axes."""
    head = np.argwhere(foreground(fixed.voxels, fixed.grid.edges) & reached(fixed.grid, moving.grid, truth))
    points = fixed.grid.affine @ np.column_stack([head, np.ones(len(head))]).T
    return float(np.abs(np.linalg.solve(moving.grid.affine, (found - truth) @ points)).max())
