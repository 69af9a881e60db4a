"""Arrays on the disk, each with the SHA-256 of its file, so that one which was damaged since is never taken for data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import file_digest
from pathlib import Path

import numpy as np

from .task import FederationError


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Write each array to NAME.npy; returns the SHA-256 of each file by name."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return {name: _file_sha256(folder / f"{name}.npy") for name in arrays}


def open_arrays(folder: Path, digests: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The arrays that `save_arrays` wrote, memory-mapped. A process reads a file once to check it, however often it opens it.

    Raises:
        FederationError: A file is missing or is not what was written.
    """
    found = {}
    for name, expected in digests.items():
        path = folder / f"{name}.npy"
        try:
            stat = path.stat()
            there = _sha256_now(path.resolve(), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            if there != expected:
                raise FederationError(
                    f"{path} is damaged: the SHA-256 of what was written begins with {expected[:12]}, that of what is there"
                    f" with {there[:12]}"
                )
            found[name] = np.load(path, mmap_mode="r")
        except OSError as error:
            raise FederationError(f"{path} cannot be read ({error.strerror or error})") from error
    return found


@cache
def _sha256_now(path: Path, *stamp: int) -> str:
    """The digest of a file while its stamp is this one."""
    return _file_sha256(path)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
