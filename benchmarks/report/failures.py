"""What went wrong: runs that failed, were interrupted, diverged or are damaged, and seeds that a row lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..records.store import FINISHED, State, Store
from ..tables.table import Table


@dataclass(frozen=True)
class Failure:
    """A run that went wrong, or a row that lacks seeds."""

    name: str  # of the run, or of the row and its table
    outcome: str
    reason: str
    attempts: int = 0  # that ended in an error


def failures(store: Store, patterns: Sequence[str], tables: Sequence[Table]) -> list[Failure]:
    """All failures: runs by name, then missing seeds by table.

    Of an error only its kind is told; `fedsynth status` says more. A run in `tables` whose record says "done" is not read again.
    """
    rows = [row for table in tables for row in table.rows]
    done = {run.record.run for row in rows for run in row.runs if run.record.status == "done"}
    found = []
    for run in store.names(patterns):
        notes = store.notes(run)
        if run in done and not notes:
            continue
        status = store.status(run)
        if status.state is State.done and not notes:
            continue
        reason = status.reason or " ".join(notes[-1].read_text("utf-8").splitlines()[1:2] if notes else ())
        # An error's text has paths and names, and a page is made to be sent.
        if not (status.state in FINISHED and status.reason):
            kind = reason.partition(":")[0]
            reason = kind if kind.isidentifier() and status.state is not State.damaged else ""
        partly = status.state in (State.unfinished, State.failed)
        outcome = status.state.value + (f", round {status.round} of {status.rounds}" if partly else "")
        found.append(Failure(run, outcome, reason, len(notes)))
    for table in tables:
        for row in table.rows:
            if row.missing:
                seeds = ", ".join(map(str, row.missing))
                found.append(Failure(f"{row.full_name} in {table.title}", "hole", f"no finished run of seed {seeds}"))
    return found
