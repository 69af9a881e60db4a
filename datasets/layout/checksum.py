"""The SHA-256 of a volume, computed once and then recognised by the size and time of its files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple

from fedsynth.federation import FederationError


class Content(NamedTuple):
    """What identifies the content of a volume."""

    bytes: int  # of all its files
    modified: int  # when a file changed last, ns since 1970
    sha256: str


def content_of(path: Path, known: Mapping[Path, Content]) -> Content:
    """The content of a volume: a file, both files of a header and image pair, or a folder of DICOM files.

    A volume whose size and time are those in `known`, from an earlier preparation, is not read again. Raises FederationError for
    a volume that cannot be read.
    """
    try:
        files = _parts(path)
        stats = [file.stat() for file in files]
        size, modified = sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)
        before = known.get(path)
        if before and (before.bytes, before.modified) == (size, modified):
            return before
        return Content(size, modified, _sha256(tuple(files), size, modified))
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is an empty folder"
        raise FederationError(f"{path} cannot be read ({what}); restore it or its permissions") from error


def _parts(path: Path) -> list[Path]:
    """The files that a volume consists of."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    other = re.sub(r"\.(img|hdr)(?=(\.gz)?$)", lambda half: ".hdr" if half[1] == "img" else ".img", path.name)
    return [path] if other == path.name else [path, path.with_name(other)]


@cache
def _sha256(files: tuple[Path, ...], size: int, modified: int) -> str:
    """Cached, because every run of a sweep asks for it; size and time are arguments so that a changed file is read again."""
    found = []
    for path in files:
        with path.open("rb") as file:
            found.append(file_digest(file, "sha256").hexdigest())
    return found[0] if len(found) == 1 else sha256("".join(found).encode()).hexdigest()
