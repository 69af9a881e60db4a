"""Files and folders that appear whole or not at all; a file is on the disk when the call returns.

Where this process claimed the folder and has lost it since, nothing appears: ClaimLostError.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .claim import check_claim


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path` by one with this content."""
    with atomic_file(path) as scratch:
        scratch.write_bytes(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A place to write a file, which replaces the one at `path` if the block ends well and is deleted if it does not.

    The place is this call's own, so that several may write the same file at once, on several machines; the last one wins.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    check_claim(path)
    try:
        yield scratch
        flush(scratch)
        check_claim(path)
        os.replace(scratch, path)
        flush(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `path` if the block ends well and is deleted if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield scratch
        scratch.chmod(0o755)  # a folder of mkdtemp is its owner's alone
        check_claim(path)
        os.rename(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a folder: whoever looks finds all of it or nothing."""
    scratch = tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent)
    with scratch as place, suppress(FileNotFoundError):  # another process was first
        os.rename(folder, Path(place, folder.name))


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
