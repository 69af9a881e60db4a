"""`fedsynth records publish`: tables and the records that they are made of, in a folder for version control.

`OUT/NAME/` gets the records, scores and curves of the runs (`runs/`), the tables made of them (`leaderboard.md`, `.csv`,
`.tex`) and a README to be completed by hand, which is never overwritten. Checkpoints, images and logs stay where they are. The
tables are made from the files in the folder, so `fedsynth leaderboard --results OUT/NAME` makes them again, byte for byte.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from click import UsageError
from tqdm import tqdm

from fedsynth.runtime.atomic import write_atomically

from ..leaderboard.leaderboard import table_views, write_views
from ..records.finished import FinishedRun, finished_runs
from ..records.store import Store
from .pack import FILES

ENDINGS = ("md", "csv", "tex")
README = """# {name}

The tables are in [leaderboard.md](leaderboard.md), made of the {count} runs in `runs/` by

```
fedsynth leaderboard --results results/{name} --out results/{name}
```

Say here which question was asked, by which command the runs were made, and what the tables answer:
"""


def main(name: str, patterns: Sequence[str], results: Path, out: Path) -> int:
    """Copy the runs and write the tables; 1 if there is no finished run, 2 if it cannot be written."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name) or name in ("runs", "cache"):
        raise UsageError(
            f"{name!r} cannot be the name of the folder; use letters, digits, '_', '-' and '/', but neither runs nor cache"
        )
    folder: Path = out / name
    if Store(folder).runs.resolve() == Store(results).runs.resolve():
        raise UsageError(f"{folder} is where the runs are; give another NAME, or --out")
    runs = finished_runs(Store(results), patterns)
    if not runs:
        return 1
    try:
        size = publish(runs, out, name)
    except OSError as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    print(f"published {len(runs)} run{'s' * (len(runs) != 1)} in {folder} ({size / len(runs) / 1e3:.0f} kB a run)")
    return 0


def publish(runs: Sequence[FinishedRun], out: Path, name: str) -> int:
    """Copy the runs into `out/name`, then make the tables of all runs in that folder. Returns the bytes of the copied runs."""
    folder, size = out / name, 0
    store = Store(folder)
    for run in tqdm(runs, "publishing", unit="run", leave=False, disable=None):
        place = store.folder(run.record.run)
        place.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            content = (run.folder / file).read_bytes()
            size += len(content)
            if not (place / file).exists() or (place / file).read_bytes() != content:
                write_atomically(place / file, content)
    there = finished_runs(store, ())
    write_views(table_views(there), folder, ENDINGS)
    if not (folder / "README.md").exists():
        write_atomically(folder / "README.md", README.format(name=name, count=len(there)).encode())
    return size
