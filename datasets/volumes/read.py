"""One volume from the disk, turned to a common orientation, or refused with the reason."""

from __future__ import annotations

import stat
from pathlib import Path

import nibabel
import numpy as np

from fedsynth.federation import FederationError

from . import dicom, nifti
from .intensity import bright_level, clip_level
from .volume import Grid, StoredVolume, Volume, edges_in_mm

EVEN = 0.1  # of the range of intensities: air varies less, tissue more
EDGES = (0.05, 20.0)  # mm; if the edge of a voxel lies outside, the affine is not in mm, which NIfTI prescribes


def source(path: Path, chosen: int | None = None) -> StoredVolume:
    """The volume as it is stored in `path`; the arguments are those of `read_volume`."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except OSError as error:
        raise FederationError(f"{path} cannot be read ({error.strerror}); restore it or its permissions") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise FederationError(f"{path} is neither a file nor a folder; restore it from its source")
    found = dicom.open_series(path) if stat.S_ISDIR(mode) else nifti.open_nifti(path, chosen)
    _invertible(path, found.affine)
    return found


def examine(path: Path, chosen: int | None = None) -> Grid:
    """The grid of a volume whose header and length are right. Its voxels are not read."""
    return _turned(source(path, chosen))[1]


def read_volume(path: Path, chosen: int | None = None) -> Volume:
    """A volume, turned to the right-anterior-superior axes nearest to its own, without interpolation.

    Args:
        path: A NIfTI file, or a folder with one DICOM series.
        chosen: Index of the volume to use from a 4-D file.

    Raises:
        FederationError: For anything but one whole three-dimensional grey-valued magnitude image; it names the file and says what
            to do. The header's claims are compared with the length of the file before memory is taken.
    """
    volume = read_voxels(path, chosen)
    _magnitude(path, volume.voxels)
    return volume


def read_voxels(path: Path, chosen: int | None = None) -> Volume:
    """The same for a volume that need not be a magnitude image, such as a mask: any finite values are accepted."""
    found = source(path, chosen)
    axes, grid = _turned(found)
    voxels = found.load()
    if bad := voxels.size - int(np.isfinite(voxels).sum()):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(voxels))[0])
        raise FederationError(f"{path}: {bad} voxels are NaN or infinite, the first at {where}; export it without them")
    return Volume(nibabel.orientations.apply_orientation(voxels, axes), grid)


def _turned(found: StoredVolume) -> tuple[np.ndarray, Grid]:
    """How the file's axes have to be turned, as nibabel's orientations, and the turned grid."""
    axes = nibabel.orientations.io_orientation(found.affine)
    x, y, z = (found.shape[i] for i in np.argsort(axes[:, 0]))
    return axes, Grid((x, y, z), found.affine @ nibabel.orientations.inv_ornt_aff(axes, found.shape))


def _invertible(path: Path, affine: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        linear = np.asarray(affine, np.float64)[:3, :3]
        spacing = np.linalg.norm(linear, axis=0)
        volume = abs(np.linalg.det(linear))
    if not np.isfinite(affine).all() or not np.isfinite(spacing).all() or volume <= 1e-3 * spacing.prod():
        rows = affine[:3].tolist()
        raise FederationError(f"{path}: its affine {rows} cannot be inverted; correct the header's sform or qform")
    if spacing.min() < EDGES[0] or spacing.max() > EDGES[1]:
        raise FederationError(
            f"{path}: voxels of {edges_in_mm(spacing)} mm, where edges of {EDGES[0]} to {EDGES[1]} mm are expected;"
            " write its affine in mm"
        )


def _magnitude(path: Path, voxels: np.ndarray) -> None:
    low, high = float(voxels.min()), float(voxels.max())
    if low == high or high <= 0:
        raise FederationError(
            f"{path}: all its voxels lie between {low:g} and {high:g}, no image; leave the subject out or restore the volume"
        )
    level = clip_level(voxels)
    sides = np.concatenate([voxels[[0, -1]].ravel(), voxels[:, [0, -1]].ravel()])
    air, spread = float(np.median(sides)), float(np.ptp(np.percentile(sides, [10, 90])))
    if air > level and spread < EVEN * (bright_level(voxels) - air):
        raise FederationError(
            f"{path}: the air at its sides has an intensity of {air:g}, where 0 is expected; subtract {air:g} from its voxels"
        )
    if (negative := float((voxels < -level).mean())) > 0.01:
        raise FederationError(
            f"{path}: {negative:.0%} of its voxels are far below 0, where a magnitude image is expected; use the volume"
            " before it was standardised"
        )
