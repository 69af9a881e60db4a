"""One NIfTI volume, read as what its header says it is or refused, and what its voxels alone can tell."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Pair
from scipy import ndimage

from fedsynth.federation import FederationError

LARGEST = 1024**3  # voxels; a head at 0.25 mm has fewer
EDGES = (0.05, 20.0)  # mm; a voxel's edge outside means that the affine is not in the millimetres that NIfTI prescribes
CLIP_FRACTION = 0.25  # of the median of the foreground: tissue lies above, air noise (at an SNR of 15 or more) below
HEADROOM = 1.08  # the phantom's sites leave as much between their 99.5th percentile and white


class Volume(NamedTuple):
    """Voxels float32 `[X, Y, Z]` running right, anterior, superior; the affine `[4, 4]` that places them, mm; and `white`, the
    intensity to show as 1: 1.08 times the 99.5th percentile of the volume's own foreground."""

    voxels: np.ndarray
    affine: np.ndarray
    white: float

    @property
    def spacing(self) -> np.ndarray:
        """Edges of a voxel in mm, `[3]`."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def grid(self) -> str:
        shape, edges = self.voxels.shape, self.spacing
        origin = ", ".join(f"{x:.2f}" for x in self.affine[:3, 3])
        return f"{shape[0]} x {shape[1]} x {shape[2]} voxels of {_sizes(edges)} mm at ({origin})"

    def same_grid(self, other: Volume) -> bool:
        """Whether no corner of the two grids lies further apart than a tenth of a voxel's shortest edge."""
        if self.voxels.shape != other.voxels.shape:
            return False
        corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*self.voxels.shape, 1]
        apart = np.linalg.norm(corners @ (self.affine - other.affine).T, axis=1)
        return bool(apart.max() <= 0.1 * self.spacing.min())


def read(path: Path) -> Volume:
    """The volume in `path`, turned to the right-anterior-superior axes nearest to its own, without interpolation.

    NIfTI-1 or 2, `.nii`, `.nii.gz` or a `.hdr` and `.img` pair, any byte order, data type and scaling. Raises FederationError,
    naming the file and what to do, for whatever is not one whole three-dimensional grey-valued magnitude image. What the header
    claims is compared with what the file holds before memory is taken.
    """
    try:
        image = nibabel.load(path, mmap=False)
    except Exception as error:  # nibabel meets a damaged header with errors of many kinds
        raise FederationError(f"{path} cannot be read as NIfTI ({error}); restore it from its source") from error
    if not isinstance(image, Nifti1Pair) or not isinstance(image.dataobj, ArrayProxy):
        raise FederationError(f"{path} is a {type(image).__name__}, not a NIfTI volume; convert it to .nii.gz")
    shape = _shape(path, image)
    _whole(path, image, image.dataobj.offset)
    axes = _axes(path, image)
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
            voxels = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    except (OSError, EOFError, ValueError) as error:
        raise FederationError(f"{path}: its voxels cannot be read ({error}); restore it from its source") from error
    white = _white(path, voxels)
    turned = nibabel.orientations.apply_orientation(voxels, axes)
    return Volume(turned, image.affine @ nibabel.orientations.inv_ornt_aff(axes, shape), white)


def _shape(path: Path, image: Nifti1Pair) -> tuple[int, ...]:
    """The three extents, once they and the data type are such as can be read."""
    shape = tuple(int(extent) for extent in image.shape)
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        kind = "colour" if dtype.fields else str(dtype)
        raise FederationError(f"{path} holds {kind} voxels; export one grey value a voxel")
    if len(shape) < 3 or any(extent != 1 for extent in shape[3:]):
        raise FederationError(
            f"{path} is {len(shape)}-D, of shape {shape}, where one 3-D volume is expected; save the one to use by itself"
        )
    if min(shape) < 1 or math.prod(shape) > LARGEST:
        raise FederationError(
            f"{path}: its header claims shape {shape}, beyond the {LARGEST} voxels of any head; repair or re-export it"
        )
    return shape[:3]


def _whole(path: Path, image: Nifti1Pair, offset: int) -> None:
    """Refuse a file that, once decompressed, does not hold exactly what its header claims.

    Reading a gzip to its end also checks its checksum, which nibabel, stopping at the last voxel, would not.
    """
    claimed = offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    held = 0
    try:
        with image.file_map["image"].get_prepare_fileobj("rb") as file:
            while held <= claimed and (block := file.read(1 << 20)):
                held += len(block)
    except Exception as error:  # gzip, bz2 and zstd have errors of their own for a damaged file
        raise FederationError(f"{path} is truncated or damaged ({error}); restore it from its source") from error
    if held != claimed:
        found = "more" if held > claimed else str(held)
        raise FederationError(
            f"{path}: its header claims {claimed} bytes, the file holds {found}; restore it from its source or re-export it"
        )


def _axes(path: Path, image: Nifti1Pair) -> np.ndarray:
    """Which of the file's axes run right, anterior and superior, and which way, as nibabel's orientations."""
    linear = image.affine[:3, :3]
    edges = np.linalg.norm(linear, axis=0)
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(linear)) <= 1e-3 * edges.prod():
        rows = image.affine[:3].tolist()
        raise FederationError(f"{path}: its affine {rows} cannot be inverted; correct the header's sform or qform")
    if edges.min() < EDGES[0] or edges.max() > EDGES[1]:
        raise FederationError(
            f"{path}: voxels of {_sizes(edges)} mm, where edges of {EDGES[0]} to {EDGES[1]} mm are expected;"
            " write its affine in mm"
        )
    return nibabel.orientations.io_orientation(image.affine)


def _white(path: Path, voxels: np.ndarray) -> float:
    if bad := voxels.size - int(np.isfinite(voxels).sum()):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(voxels))[0])
        raise FederationError(f"{path}: {bad} voxels are NaN or infinite, the first at {where}; export it without them")
    low, high = float(voxels.min()), float(voxels.max())
    if low == high or high <= 0:
        raise FederationError(
            f"{path}: all its voxels lie between {low:g} and {high:g}, no image; leave the subject out or restore the volume"
        )
    level = clip_level(voxels)
    if (negative := float((voxels < -level).mean())) > 0.01:
        raise FederationError(
            f"{path}: {negative:.0%} of its voxels are far below 0, where a magnitude image is expected; use the volume"
            " before it was standardised"
        )
    return HEADROOM * float(np.percentile(voxels[voxels > level], 99.5))


def _sizes(edges: np.ndarray) -> str:
    return " x ".join(f"{edge:.4g}" for edge in edges)


def clip_level(voxels: np.ndarray) -> float:
    """The intensity that separates tissue from air: a quarter of the median of all voxels above it.

    AFNI's 3dClipLevel takes half. Approached from above, so that a volume of mostly air noise ends at its tissue.
    """
    voxels = voxels[voxels > 0]
    level = CLIP_FRACTION * float(np.percentile(voxels, 99.5))
    while (lower := CLIP_FRACTION * float(np.median(voxels[voxels > level]))) < 0.99 * level:
        level = lower
    return level


def foreground(voxels: np.ndarray) -> np.ndarray:
    """The head, bool `[X, Y, Z]`, of a volume with at least one positive voxel.

    What lies above the clip level, less what is thinner than 3 pixels in an axial slice; of that the largest connected part in
    3-D, its holes filled slice by slice.
    """
    above = ndimage.binary_opening(voxels > clip_level(voxels), np.ones((3, 3, 1), bool))
    parts, count = ndimage.label(above)
    if not count:
        return above
    head = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(head[:, :, k]) for k in range(head.shape[2])], axis=2)


def resampling(voxels: int, spacing: float, pixels: int, pixel: float) -> np.ndarray:
    """Weights `[pixels, voxels]` that bring a row of voxels `spacing` mm apart to pixels `pixel` mm apart, middle on middle.

    A triangle as wide as the coarser of the two, so that finer voxels are averaged and coarser ones interpolated; equal
    spacings copy. Outside the volume is zero, so that the same weights crop or pad.
    """
    wanted = (np.arange(pixels) - pixels // 2) * pixel
    width = max(spacing, pixel)
    margin = int(np.ceil((np.abs(wanted).max() + width) / spacing)) + voxels
    given = np.arange(-margin, margin + 1) * spacing  # beyond the volume too, so that its border is not made brighter
    weights = np.maximum(0, 1 - np.abs(wanted[:, None] - given[None]) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    first = margin - voxels // 2
    return weights[:, first : first + voxels].astype(np.float32)
