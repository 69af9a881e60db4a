"""`fedsynth pack`: the records of finished runs, with their scores and curves, in one file that `fedsynth merge` reads.

The same runs make the same file, byte for byte. Checkpoints and images stay where they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from tqdm import tqdm

from fedsynth.runtime.atomic import atomic_file

from ..records.finished import FinishedRun, finished_runs
from ..records.store import Store

FILES = (
    "scores.csv",
    "curve.csv",
    "record.json",
)  # of a run; the record is last: its presence means that the run is finished


def main(argv: list[str]) -> int:
    """Write the file; 1 if there is no finished run, 2 if it cannot be written."""
    parser = argparse.ArgumentParser(prog="fedsynth pack", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.zip", help="the file to be written; it must not exist")
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="names of runs, such as 'fedavg-*'; default: all"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    arguments = parser.parse_args(argv)
    path: Path = arguments.file
    if path.suffix != ".zip" or path.exists():
        wrong = (
            "is there already; delete it, or give another name" if path.exists() else "is no name that ends with .zip"
        )
        print(f"fedsynth: {path} {wrong}", file=sys.stderr)
        return 2
    runs = finished_runs(Store(arguments.results), arguments.patterns)
    if not runs:
        return 1
    try:
        pack(runs, path)
    except OSError as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    print(f"packed {len(runs)} run{'s' * (len(runs) != 1)} into {path} ({path.stat().st_size / 1e6:.1f} MB)")
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
