"""`fedsynth records pack`: one file of the records, scores and curves of finished runs, for `fedsynth records merge`.

Checkpoints and images stay where they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..records.archive import write_archive
from ..records.finished import finished_runs
from ..records.store import Store
from ..records.text_table import how_many
from .gives_away import may_leave


def main(file: Path, patterns: Sequence[str], results: Path) -> int:
    """Write the file; 1 if there is no finished run, 2 if it cannot be written."""
    if file.suffix != ".zip" or file.exists():
        wrong = "is there already; delete it, or give another name" if file.exists() else "does not end with .zip"
        print(f"fedsynth: {file} {wrong}", file=sys.stderr)
        return 2
    runs = may_leave(finished_runs(Store(results), patterns))
    if not runs:
        return 1
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_archive(file, ((run.record.run, run.folder) for run in runs))
    except OSError as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    print(f"packed {how_many(len(runs), 'run')} into {file} ({file.stat().st_size / 1e6:.1f} MB)")
    return 0
