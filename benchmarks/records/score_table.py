"""The tables of a run by columns. A cell becomes a number when it is asked for, so that thousands of runs are read in seconds."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .record import TEXT, RecordError

PLACE = ("site", "task", "subject")
UNSHOWN = "last"  # the selection that no figure and no table shows unless it is asked for by name

Name = TypeVar("Name")
Where = tuple[str, str, str]  # selection, site, task
Key = tuple[str, str, str]  # site, task, subject
Values = dict[Key, float]  # nan where a subject has no score


@dataclass(frozen=True, eq=False)
class Index:
    """What names the lines of a table: its columns of text. One object for all tables whose lines are named alike."""

    columns: Mapping[str, tuple[str, ...]]

    @cached_property
    def selections(self) -> dict[str, tuple[tuple[int, ...], tuple[Key, ...]]]:
        """Of scores: selection -> its lines, and the key of each."""
        every = list(zip(*(self.columns[name] for name in PLACE), strict=True))
        own = grouped(self.columns["selection"])
        return {name: (numbers, tuple(every[number] for number in numbers)) for name, numbers in own.items()}

    @cached_property
    def places(self) -> dict[Where, tuple[int, ...]]:
        """Of scores: the lines of each selection, site and task, sorted."""
        names = zip(*(self.columns[name] for name in ("selection", "site", "task")), strict=True)
        return dict(sorted(grouped(names).items()))

    @cached_property
    def sites(self) -> tuple[list[str], NDArray[np.intp]]:
        """All sites, sorted, and the number of each line's."""
        names, number = np.unique(self.columns["site"], return_inverse=True)
        return names.tolist(), number


def grouped(names: Iterable[Name]) -> dict[Name, tuple[int, ...]]:
    """The numbers of each name's lines."""
    found: dict[Name, list[int]] = {}
    for number, name in enumerate(names):
        found.setdefault(name, []).append(number)
    return {name: tuple(own) for name, own in found.items()}


@lru_cache(maxsize=256)
def index(heads: tuple[str, ...], columns: tuple[tuple[str, ...], ...]) -> Index:
    """Of the columns of text with these heads."""
    return Index(dict(zip(heads, columns, strict=True)))


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A run's table; of its scores, those that are shown."""

    run: str
    index: Index
    numbers: Mapping[str, Sequence[str] | memoryview]  # the other columns by name: text, or float64

    @classmethod
    def read(cls, path: Path, without: str = UNSHOWN) -> ScoreTable:
        """From the CSV in a run's folder; `without` one selection."""
        return cls.parsed(path.parent.name, path.read_text(), without)

    @classmethod
    def parsed(cls, run: str, text: str, without: str = UNSHOWN) -> ScoreTable:
        """From CSV; where a cell is quoted that takes longer."""
        if '"' in text:
            heads, *rows = csv.reader(io.StringIO(text, newline=""))
            rows = [row for row in rows if row[0] != without]
        else:
            head, *rest = text.split("\n")
            heads, left_out = head.split(","), f"{without},"
            rows = [line.split(",") for line in rest if line and not line.startswith(left_out)]
        cells = list(zip(*rows, strict=True)) or [()] * len(heads)
        columns = dict(zip(heads, cells, strict=True))
        named = tuple(head for head in heads if head in TEXT)
        numbers = {head: own for head, own in columns.items() if head not in TEXT}
        return cls(run, index(named, tuple(columns[head] for head in named)), numbers)

    @classmethod
    def unpacked(cls, run: str, index: Index, heads: Sequence[str], numbers: bytes) -> ScoreTable:
        """What `packed` made bytes of; `heads` are the names of its columns."""
        view: Any = memoryview(numbers).cast("d")
        count = len(view) // len(heads)
        return cls(run, index, {head: view[at * count : (at + 1) * count] for at, head in enumerate(heads)})

    def packed(self) -> bytes:
        """All numbers as float64, column by column."""
        return b"".join(array("d", map(float, own)).tobytes() for own in self.numbers.values())

    def column(self, name: str) -> list[float]:
        """The numbers of a column. Raises RecordError where there is none."""
        return list(map(float, self._cells(name)))

    def values(self, selection: str, metrics: Sequence[str]) -> dict[str, Values]:
        """Every metric's scores of one selection, in the columns' own units; empty where the run has no such scores.

        Raises RecordError where the run was not scored by a metric, or a row is repeated.
        """
        own, keys = self.index.selections.get(selection, ((), ()))
        found = {}
        for metric in metrics:
            cells = self._cells(metric)
            found[metric] = dict(zip(keys, [float(cells[number]) for number in own], strict=True))
            if len(found[metric]) < len(own):
                raise RecordError(f"{self.run}: a score of selection {selection} is there twice")
        return found

    def _cells(self, name: str) -> Sequence[str] | memoryview:
        if name not in self.numbers:
            told = ", ".join(self.numbers)
            raise RecordError(f"{self.run}: its scores have no {name}, which came later; they have {told}")
        return self.numbers[name]
