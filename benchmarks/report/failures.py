"""What did not work out: runs that failed, stopped half way, diverged or are damaged, and seeds that a row lacks."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..leaderboard.pair import full
from ..records.store import State, Store
from ..tables.table import Table


@dataclass(frozen=True)
class Failure:
    """One line: of a run, or of a row's missing seeds."""

    what: str  # a run's name, or a row and its table
    outcome: str
    reason: str
    attempts: int = 0  # that ended in an error


def failures(store: Store, patterns: Sequence[str], tables: Sequence[Table]) -> list[Failure]:
    """All there are, runs by name and then holes by table; those in the tables whose record says done are taken to be so."""
    rows = [row for table in tables for row in table.rows]
    done = {run.record.run for row in rows for run in row.runs if run.record.status == "done"}
    found = []
    for run in store.names(patterns):
        folder = store.folder(run)
        notes = sorted(folder / name for name in os.listdir(folder) if fnmatchcase(name, "attempt-*.json"))
        if run in done and not notes:
            continue
        where = store.status(run)
        if where.state is State.done and not notes:
            continue
        reason = where.reason or (json.loads(notes[-1].read_bytes())["reason"] if notes else "")
        rounds = f", round {where.round} of {where.rounds}" if where.state in (State.unfinished, State.failed) else ""
        found.append(Failure(run, where.state.value + rounds, reason, len(notes)))
    for table in tables:
        for row in table.rows:
            if row.missing:
                seeds = ", ".join(map(str, row.missing))
                found.append(Failure(f"{full(row)} in {table.title}", "hole", f"no finished run of seed {seeds}"))
    return found
