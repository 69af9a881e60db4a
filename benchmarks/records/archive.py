"""The records of a published table in one file: a clone has one file to fetch, and a record takes a tenth of the room.

`<results>/records.zip` holds `RUN/record.json`, `RUN/scores.csv` and `RUN/curve.csv` of every run. While a long sweep is
published in parts, each part is a `records-N.zip` beside it. The same runs make the same file, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, BadZipFile, Path as ZipPath, ZipFile, ZipInfo

from tqdm import tqdm

from fedsynth.runtime.atomic import atomic_file

from .record import TABLES, RecordError

# The files of a run. The record is last: its presence means that the run is finished.
FILES = (*TABLES, "record.json")


def archives(results: Path) -> list[Path]:
    """The archives of a store."""
    return sorted(results.glob("records*.zip"))


def kept_in(archive: Path) -> Mapping[str, Traversable]:
    """The folder of each run in an archive. Raises RecordError for a file that is not one."""
    try:
        root = ZipPath(archive)
        runs = [path.parent.name for name in root.root.namelist() if (path := PurePosixPath(name)).name == FILES[-1]]
    except (BadZipFile, OSError, ValueError) as error:
        raise RecordError(f"{archive}: its runs cannot be read ({error}); fetch the file again") from error
    return {run: root.joinpath(f"{run}/") for run in runs}


def write_archive(path: Path, runs: Iterable[tuple[str, Traversable]]) -> None:
    """Write the files of each run, given by its name and the folder where they are; the whole archive or none of it."""
    with atomic_file(path) as scratch, ZipFile(scratch, "w", ZIP_DEFLATED) as archive:
        for run, folder in tqdm(runs, "packing", unit="run", leave=False, disable=None):
            for name in FILES:
                entry = ZipInfo(f"{run}/{name}")  # dated 1980, so that the same runs make the same file
                entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, (folder / name).read_bytes())
