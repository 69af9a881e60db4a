"""The finished runs of a store. Tables, figures and packs are made of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from zipfile import Path as ZipPath

from fedsynth.federation import Task
from fedsynth.federation.names import visible

from .cache import RecordCache
from .record import SELECTIONS, Record
from .score_table import UNSHOWN, Key, ScoreTable, Values
from .store import Store

HOW = "`fedsynth run -m experiment=demo method=local,fedavg,fedbn` makes three small ones"
FLOAT16 = 2  # bytes of a pixel


@dataclass(frozen=True)
class FinishedRun:
    """A finished run. Its tables are read when they are asked for, so that thousands of runs fit into memory."""

    record: Record
    folder: Traversable
    cache: RecordCache | None = field(default=None, compare=False, repr=False)

    @property
    def file(self) -> Path:
        """The file of the record, or the archive that it is in."""
        folder = self.folder
        return Path(folder.root.filename or "") if isinstance(folder, ZipPath) else Path(str(folder)) / "record.json"

    @property
    def score_table(self) -> ScoreTable:
        """`scores.csv` by columns, without the scores of the last round."""
        return self._table("scores.csv")

    @property
    def curve_table(self) -> ScoreTable:
        """`curve.csv` by columns."""
        return self._table("curve.csv")

    def values(self, selection: str, metrics: Sequence[str]) -> dict[str, Values]:
        """The scores of one selection by each metric; empty where the run has no such scores."""
        table = self.score_table if selection != UNSHOWN else self._read("scores.csv", without="")
        return table.values(selection, metrics)

    @property
    def test_subjects(self) -> frozenset[Key]:
        """The site, task and subject of every score of the selected round."""
        return frozenset(self.score_table.index.selections[SELECTIONS[0]][1])

    @property
    def tasks(self) -> dict[str, list[str]]:
        """The tasks of each site that trains."""
        tasks: dict[str, list[str]] = self.record.identity["scenario"]["tasks"]
        return tasks

    @property
    def images_shipped(self) -> int:
        """The bytes of the training and validation images that sites send to one place, once, where they train as one: those of
        the contrasts of their tasks, as float16. 0 where every site trains by itself."""
        groups = [name for name in self.record.digest if "+" in name]
        if not groups:
            return 0
        (height, width), images = self.record.data["size"], 0
        for site in (site for group in groups for site in group.split("+")):
            contrasts = {contrast for task in self.tasks[site] for contrast in Task.parse(task).contrasts}
            slices = sum(self.record.data["subjects_and_slices"][site][split][1] for split in ("train", "val"))
            images += slices * len(contrasts)
        return images * height * width * FLOAT16

    def cost(self, name: str) -> float:
        """A cost of the whole run; `name` is one of records.COSTS. Images that are shipped are bytes that are sent."""
        return self.record.costs[name] + (self.images_shipped if name == "bytes_up" else 0)

    @property
    def rounds(self) -> int:
        """How many rounds the run was asked for."""
        return int(self.record.identity["trainer"]["rounds"])

    def _table(self, name: str) -> ScoreTable:
        cached = self.cache.score_table(self.record, name) if self.cache else None
        return cached or self._read(name)

    def _read(self, name: str, without: str = UNSHOWN) -> ScoreTable:
        return ScoreTable.parsed(self.record.run, (self.folder / name).read_text(), without)


def finished_runs(store: Store, patterns: Sequence[str] = ()) -> list[FinishedRun]:
    """The finished runs whose names match a pattern (all without one), by name.

    Says on standard error which runs are left out and why, and where there is no finished run how to make some.
    """
    cache = RecordCache(store)
    records, damaged = store.records(patterns, cache.record)
    cache.save()
    for reason in damaged:
        print(visible(f"fedsynth: left out: {reason}"), file=sys.stderr)
    if unfinished := len(store.names(patterns)) - len(records) - len(damaged) + len(store.unreadable):
        print(f"fedsynth: left out: {unfinished} not finished; `fedsynth status` says which", file=sys.stderr)
    if not records:
        named = f" named {' or '.join(patterns)}" if patterns else ""
        print(f"fedsynth: no finished run{named} in {store.runs}; {HOW}", file=sys.stderr)
    return [FinishedRun(record, store.kept(record.run), cache) for record in records]
