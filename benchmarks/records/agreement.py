"""Whether two records of one row and seed say the same. Neither a date nor anything else that a sender may write chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .finished import FinishedRun

PRINTED = 1e-8  # of a score, relative: tables of scores have nine digits, older ones more


def agree(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether their scores are the same, by every metric that both were scored by."""
    if one.record.files["scores.csv"] == other.record.files["scores.csv"]:
        return True
    ours, theirs = one.score_table, other.score_table
    return ours.index.columns == theirs.index.columns and all(
        np.allclose(ours.column(name), theirs.column(name), PRINTED, 0, equal_nan=True)
        for name in ours.numbers.keys() & theirs.numbers.keys()
    )


def agreed(runs: Sequence[FinishedRun]) -> FinishedRun | None:
    """The run that counts of those of one row and seed: the one with the most metrics if all agree, and none if two differ."""
    if len(runs) == 1:
        return runs[0]
    first = max(runs, key=lambda run: (len(run.score_table.numbers), run.record.run))
    return first if all(agree(first, run) for run in runs) else None


def dispute(*names: str) -> str:
    """What to do about records that differ."""
    return (
        f"{' and '.join(names)} are of one row and seed, and their scores differ, so none counts; remove what is wrong "
        "(`fedsynth prune RUN --yes`), or name the runs that count"
    )
