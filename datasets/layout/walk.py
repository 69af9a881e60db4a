"""All ordinary files under a folder, also behind symbolic links that lead in a circle: to read a pipe could last for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walk(root: Path) -> Iterator[Path]:
    """Every file under `root` that is not hidden, folder by folder. Links are followed, but no folder is read twice."""
    seen: set[tuple[int, int]] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:
            below.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (
            path for name in sorted(files) if not name.startswith(".") and is_ordinary(path := Path(folder, name))
        )


def is_ordinary(path: Path) -> bool:
    """Whether it is a file, or a broken link, which whoever reads it names; and no folder, pipe, socket or device."""
    return path.is_file() or not path.exists()
