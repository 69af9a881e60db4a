"""`fedsynth records pack`: one file of the records, scores and curves of finished runs, for `fedsynth records merge`.

The same runs make the same file, byte for byte. Checkpoints and images stay where they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from tqdm import tqdm

from fedsynth.runtime.atomic import atomic_file

from ..records.finished import FinishedRun, finished_runs
from ..records.store import Store

# The files of a run. The record is last: its presence means that the run is finished.
FILES = ("scores.csv", "curve.csv", "record.json")


def main(file: Path, patterns: Sequence[str], results: Path) -> int:
    """Write the file; 1 if there is no finished run, 2 if it cannot be written."""
    if file.suffix != ".zip" or file.exists():
        wrong = "is there already; delete it, or give another name" if file.exists() else "does not end with .zip"
        print(f"fedsynth: {file} {wrong}", file=sys.stderr)
        return 2
    runs = finished_runs(Store(results), patterns)
    if not runs:
        return 1
    try:
        pack(runs, file)
    except OSError as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    print(f"packed {len(runs)} run{'s' * (len(runs) != 1)} into {file} ({file.stat().st_size / 1e6:.1f} MB)")
    return 0


def pack(runs: Sequence[FinishedRun], path: Path) -> None:
    """Write `RUN/scores.csv`, `RUN/curve.csv` and `RUN/record.json` of each run; the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as scratch, ZipFile(scratch, "w", ZIP_DEFLATED) as archive:
        for run in tqdm(runs, "packing", unit="run", leave=False, disable=None):
            for name in FILES:
                entry = ZipInfo(f"{run.record.run}/{name}")  # dated 1980, so that the same runs make the same file
                entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, (run.folder / name).read_bytes())
