"""`fedsynth records publish`: tables and the records that they are made of, in a folder for version control.

`OUT/NAME/` gets one archive of the records, scores and curves of the runs (`records.zip`), the tables made of them
(`leaderboard.md`, `.csv`) and a README to be completed by hand, of which only the passages that follow from records are
written again (passages.py). Checkpoints, images and logs stay where they are. The tables are made from the archive, so `fedsynth
leaderboard --results OUT/NAME` makes them again, byte for byte. A part has only the runs that no archive there has, so that
hourly commits of a long sweep do not each hold the whole.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from click import UsageError

from fedsynth.runtime.atomic import write_atomically

from ..leaderboard.leaderboard import table_views, write_views
from ..records.archive import archives, kept_in, write_archive
from ..records.finished import FinishedRun, finished_runs
from ..records.record import RecordError
from ..records.store import Store
from ..records.text_table import how_many
from .gives_away import may_leave
from .passages import rewritten
from .statements import StatementError

ENDINGS = ("md", "csv")
README = """# {name}

The tables are in [leaderboard.md](leaderboard.md), made of the runs in `records.zip` by

```
fedsynth leaderboard --results results/{name} --out results/{name}
```

<!-- records: setting -->

<!-- records: standing -->

The passages after hidden comments are made from the records by `fedsynth records pages`, and have the only numbers. Say here
which question was asked and by which command the runs were made:
"""


def main(name: str, patterns: Sequence[str], results: Path, out: Path, part: bool) -> int:
    """Write the archive and the tables; 1 if there is no finished run, 2 if they cannot be written."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name) or name in ("runs", "cache"):
        raise UsageError(
            f"{name!r} cannot be the name of the folder; use letters, digits, '_', '-' and '/', but neither runs nor cache"
        )
    folder: Path = out / name
    runs = may_leave(finished_runs(Store(results), patterns))
    if not runs:
        return 1
    try:
        size = publish(runs, out, name, part)
    except (OSError, RecordError, StatementError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    print(f"published {how_many(len(runs), 'run')} in {folder} ({size / 1e6:.1f} MB)")
    return 0


def publish(runs: Sequence[FinishedRun], out: Path, name: str, part: bool = False) -> int:
    """Archive the runs beside those of `out/name`, then make the tables of all. Returns the bytes of all archives there.

    Raises OSError, RecordError for an archive there that cannot be read, over which nothing is written, and StatementError for a
    passage of its page that cannot be made.
    """
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        return _publish(runs, folder, name, part)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Inside, no other process publishes there: two would take the same number for their part, or delete what the other reads."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _publish(runs: Sequence[FinishedRun], folder: Path, name: str, part: bool) -> int:
    places = archives(folder)
    there = {run: kept for path in places for run, kept in kept_in(path).items()}
    if part:
        kept = {run.record.run: run.folder for run in runs if run.record.run not in there}
        place = next(path for number in count(1) if not (path := folder / f"records-{number}.zip").exists())
        replaced = []
    else:
        kept = there | {run.record.run: run.folder for run in runs}
        place, replaced = folder / "records.zip", places
    if kept:
        write_archive(place, sorted(kept.items()))
    for path in replaced:
        if path != place:
            path.unlink()
    published = finished_runs(Store(folder))
    if lost := len(there | kept) - len(published):
        raise RecordError(
            f"{folder}: {lost} of its runs cannot be read back, as told above; its tables are as they were"
        )
    write_views(table_views(published), folder, ENDINGS)
    page = folder / "README.md"
    text = page.read_text() if page.exists() else README.format(name=name)
    write_atomically(page, rewritten(text, folder).encode())
    return sum(path.stat().st_size for path in archives(folder))
