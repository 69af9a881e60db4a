"""A NIfTI file, checked against its header before memory is taken."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Pair

from fedsynth.federation import FederationError

from .volume import StoredVolume

LARGEST = 1024**3  # voxels; a head at 0.25 mm has fewer


def open_nifti(path: Path, chosen: int | None) -> StoredVolume:
    """A volume in NIfTI-1 or 2, as `.nii`, `.nii.gz` or a `.hdr` and `.img` pair, of any byte order, data type and scaling.

    Of a 4-D file it is the volume of index `chosen`. Raises FederationError for anything but one whole grey-valued volume.
    """
    try:
        image = nibabel.load(path, mmap=False)
    except Exception as error:  # nibabel raises errors of many kinds for a damaged header
        raise FederationError(f"{path} cannot be read as NIfTI ({error}); restore it from its source") from error
    if not isinstance(image, Nifti1Pair) or not isinstance(image.dataobj, ArrayProxy):
        raise FederationError(f"{path} is a {type(image).__name__}, not a NIfTI volume; convert it to .nii.gz")
    proxy = image.dataobj
    where, shape = _volume(path, image, chosen)
    _whole(path, image, proxy.offset)

    def load() -> np.ndarray:
        try:
            with np.errstate(all="ignore"):  # what float32 cannot hold becomes infinite, and is refused later
                whole = len(where) == 3 or math.prod(image.shape[3:]) == 1
                voxels = np.asarray(proxy, np.float32).reshape(shape) if whole else np.asarray(proxy[where], np.float32)
        except (OSError, EOFError, ValueError, OverflowError) as error:
            raise FederationError(f"{path}: its voxels cannot be read ({error}); restore it from its source") from error
        return voxels

    return StoredVolume(shape, image.affine, load)


def _volume(path: Path, image: Nifti1Pair, chosen: int | None) -> tuple[tuple[slice | int, ...], tuple[int, int, int]]:
    """Where the volume lies in the file's array, and its extents. Raises FederationError for others than can be read."""
    shape = tuple(int(extent) for extent in image.shape)
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        kind = "colour" if dtype.fields else str(dtype)
        raise FederationError(f"{path} holds {kind} voxels; export one grey value a voxel")
    if len(shape) < 3 or any(extent != 1 for extent in (shape[3:] if chosen is None else shape[4:])):
        raise FederationError(
            f"{path} is {len(shape)}-D, of shape {shape}, where one 3-D volume is expected; save the one to use by itself,"
            " or choose one of a 4-D file by dataset.volume"
        )
    if min(shape) < 1 or math.prod(shape[:3]) > LARGEST:
        raise FederationError(
            f"{path}: its header claims shape {shape}, beyond the {LARGEST} voxels of any head; repair or re-export it"
        )
    series = shape[3] if len(shape) > 3 else 1
    index = chosen if series > 1 and chosen is not None else 0
    if not 0 <= index < series:
        raise FederationError(
            f"{path} holds {series} volumes, but dataset.volume is {index}; choose another index from 0"
        )
    return (slice(None), slice(None), slice(None), *(index, *[0] * 9)[: len(shape) - 3]), (shape[0], shape[1], shape[2])


def _whole(path: Path, image: Nifti1Pair, offset: int) -> None:
    """Raises FederationError for a file that, decompressed, does not hold exactly as many bytes as its header claims.

    Reading a gzip file to its end also verifies its checksum. nibabel stops at the last voxel and does not.
    """
    claimed = offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    held = 0
    try:
        with image.file_map["image"].get_prepare_fileobj("rb") as file:
            while held <= claimed and (block := file.read(1 << 20)):
                held += len(block)
    except Exception as error:  # gzip, bz2 and zstd each raise errors of their own for a damaged file
        raise FederationError(f"{path} is truncated or damaged ({error}); restore it from its source") from error
    if held != claimed:
        found = "more" if held > claimed else str(held)
        raise FederationError(
            f"{path}: its header claims {claimed} bytes, the file holds {found}; restore it from its source or re-export it"
        )
