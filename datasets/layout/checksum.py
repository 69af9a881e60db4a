"""The content of a volume as a SHA-256, read once and then known by the file's size and time of change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple

from fedsynth.federation import FederationError


class Content(NamedTuple):
    """`bytes` and time of the last change (ns since 1970) of the files that a volume consists of, and their SHA-256."""

    bytes: int
    modified: int
    sha256: str


def content_of(path: Path, known: Mapping[Path, Content]) -> Content:
    """Of a volume: a file, both halves of a pair, or a folder of DICOM files. `known`: what an earlier preparing found."""
    try:
        files = parts(path)
        stats = [file.stat() for file in files]
        size, modified = sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)
        before = known.get(path)
        if before and (before.bytes, before.modified) == (size, modified):
            return before
        return Content(size, modified, _sha256(tuple(files), size, modified))
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is an empty folder"
        raise FederationError(f"{path} cannot be read ({what}); restore it or its permissions") from error


def parts(path: Path) -> list[Path]:
    """The files that a volume consists of."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    other = re.sub(r"\.(img|hdr)(?=(\.gz)?$)", lambda half: ".hdr" if half[1] == "img" else ".img", path.name)
    return [path] if other == path.name else [path, path.with_name(other)]


@cache
def _sha256(files: tuple[Path, ...], size: int, modified: int) -> str:
    """Read once a process, unless a file changes: every run of a sweep asks for it."""
    found = []
    for path in files:
        with path.open("rb") as file:
            found.append(file_digest(file, "sha256").hexdigest())
    return found[0] if len(found) == 1 else sha256("".join(found).encode()).hexdigest()
