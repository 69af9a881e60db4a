"""A folder with the slices of one DICOM series, read as a volume."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedsynth.federation import FederationError

from .itk import simpleitk
from .volume import StoredVolume

RAS = np.diag([-1.0, -1.0, 1.0])  # the axes of DICOM's world run left, posterior, superior
UNEVEN = 0.05  # largest distance of a slice from its even place, as a share of the gap between slices


class _Slice(NamedTuple):
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: np.ndarray  # [3]
    direction: np.ndarray  # [3, 3]
    components: int


def open_series(folder: Path) -> StoredVolume:
    """The one series in `folder`, read by SimpleITK.

    Raises FederationError for no series or several, for a single slice, and for slices that differ in shape or direction, repeat
    a position or leave a gap. A slice that is missing at an end cannot be noticed.
    """
    sitk = simpleitk()
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        found = f"{len(series)} DICOM series ({', '.join(series[:3])})" if series else "no DICOM series"
        raise FederationError(f"{folder} holds {found}; give each series a folder of its own")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])  # in the order of their positions
    slices = [_header(Path(file)) for file in files]
    first = slices[0]
    for file, other in zip(files, slices, strict=True):
        alike = other.size == first.size and np.allclose(other.direction, first.direction, atol=1e-3)
        if not (alike and np.allclose(other.spacing[:2], first.spacing[:2], rtol=1e-3)):
            raise FederationError(
                f"{file} differs from {files[0]} in shape, pixel size or direction ({other.size}, {first.size}); move it away"
            )
        if other.components != 1:
            raise FederationError(f"{file} holds colour voxels; export one grey value a voxel")
    step = first.direction[:, 2] * first.spacing[2] if len(files) == 1 else _step(folder, slices)
    affine = np.eye(4)
    affine[:3, :2] = RAS @ first.direction[:, :2] * first.spacing[:2]
    affine[:3, 2] = RAS @ step
    affine[:3, 3] = RAS @ first.origin
    x, y = first.size[:2]
    depth = first.size[2] if len(files) == 1 else len(files)
    if depth == 1:
        raise FederationError(
            f"{folder} holds a single slice, where a volume is expected; add the other slices of its series"
        )

    def load() -> np.ndarray:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(files)
        reader.SetOutputPixelType(sitk.sitkFloat32)
        try:
            return sitk.GetArrayFromImage(reader.Execute()).T
        except RuntimeError as error:
            raise FederationError(
                f"{folder}: its slices cannot be read ({_reason(error)}); restore them from their source"
            ) from error

    return StoredVolume((x, y, depth), affine, load)


def _header(file: Path) -> _Slice:
    sitk = simpleitk()
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise FederationError(
            f"{file} cannot be read as DICOM ({_reason(error)}); restore it from its source"
        ) from error
    return _Slice(
        reader.GetSize(),
        reader.GetSpacing(),
        np.array(reader.GetOrigin()),
        np.array(reader.GetDirection()).reshape(3, 3),
        reader.GetNumberOfComponents(),
    )


def _step(folder: Path, slices: list[_Slice]) -> np.ndarray:
    """The step from one slice to the next, mm `[3]`; it is oblique to the slices if the gantry was tilted."""
    if slices[0].size[2:] not in ((), (1,)):
        raise FederationError(
            f"{folder} holds {len(slices)} files of several slices each; give each a folder of its own"
        )
    places = np.stack([each.origin for each in slices])
    step = (places[-1] - places[0]) / (len(places) - 1)
    gap = float(np.linalg.norm(step))
    off = np.linalg.norm(places - (places[0] + np.arange(len(places))[:, None] * step), axis=1)
    if gap == 0 or off.max() > UNEVEN * gap:
        gaps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        raise FederationError(
            f"{folder}: its {len(slices)} slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart, where gaps must be equal; add"
            " the missing slices, or give each volume a folder of its own"
        )
    return step


def _reason(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1].strip()
