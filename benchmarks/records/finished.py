"""Finished runs, which tables, figures and packs are made of."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .cache import RecordCache
from .record import Record, Rows, read_curve, read_scores
from .score_table import UNSHOWN, ScoreTable, Values
from .store import Store

HOW = "make some with `fedsynth run -m method=local,fedavg,fedbn`, or in a few minutes all of the demo with `make demo`"


@dataclass(frozen=True)
class Finished:
    """A finished run. Its tables are read when they are asked for, so that thousands of runs fit into memory."""

    record: Record
    folder: Path
    readings: RecordCache | None = field(default=None, compare=False, repr=False)

    @classmethod
    def read(cls, store: Store, record: Record, readings: RecordCache | None = None) -> Finished:
        return cls(record, store.folder(record.run), readings)

    @property
    def scores(self) -> Rows:
        return read_scores(self.folder)

    @property
    def curve(self) -> Rows:
        return read_curve(self.folder)

    def sheet(self, name: str) -> ScoreTable:
        """`curve.csv`, or `scores.csv` without the last round's, read fast."""
        known = self.readings.sheet(self.record, name) if self.readings else None
        return known or ScoreTable.read(self.folder / name)

    def values(self, selection: str, metrics: Sequence[str]) -> dict[str, Values]:
        """Every metric's scores of one selection, read fast; empty where there are none."""
        path = self.folder / "scores.csv"
        sheet = self.sheet(path.name) if selection != UNSHOWN else ScoreTable.read(path, without="")
        return sheet.values(selection, metrics)

    @property
    def tasks(self) -> dict[str, list[str]]:
        """Of each site that trains."""
        tasks: dict[str, list[str]] = self.record.identity["scenario"]["tasks"]
        return tasks


def finished(store: Store, patterns: Sequence[str]) -> list[Finished]:
    """The runs that tables are made of. Says on standard error what is left out, and where there is none how to make some."""
    readings = RecordCache(store)
    records, damaged = store.records(patterns, readings.record)
    readings.save()
    for reason in damaged:
        print(f"fedsynth: left out: {reason}", file=sys.stderr)
    if unfinished := len(store.names(patterns)) - len(records) - len(damaged):
        print(f"fedsynth: left out: {unfinished} not finished; `fedsynth status` tells more", file=sys.stderr)
    if not records:
        named = f" named {' or '.join(patterns)}" if patterns else ""
        print(f"fedsynth: no finished run{named} in {store.runs}; {HOW}", file=sys.stderr)
    return [Finished.read(store, record, readings) for record in records]
