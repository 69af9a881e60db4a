"""The tables of a run, by columns. A cell becomes a number when it is asked for: thousands of runs are read in seconds."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .record import TEXT, RecordError

KEY = ("site", "task", "subject")
UNSHOWN = "last"  # the selection that no figure and no table shows unless it is asked for by name

Name = TypeVar("Name")
Where = tuple[str, str, str]  # selection, site, task
Key = tuple[str, str, str]  # site, task, subject
Values = dict[Key, float]  # nan where a subject has no score
Means = Mapping[Where, Mapping[str, float]]  # by metric, in the column's own unit; nan where no subject has a score


@dataclass(frozen=True, eq=False)
class Index:
    """The columns of text, which name the lines of a table. Tables whose lines have the same names share one object."""

    columns: Mapping[str, tuple[str, ...]]

    @cached_property
    def selections(self) -> dict[str, tuple[tuple[int, ...], tuple[Key, ...]]]:
        """Of `scores.csv`: selection -> its lines, and the key of each line."""
        keys = list(zip(*(self.columns[name] for name in KEY), strict=True))
        lines = _lines_by_name(self.columns["selection"])
        return {name: (own, tuple(keys[line] for line in own)) for name, own in lines.items()}

    @cached_property
    def site_tasks(self) -> dict[Where, tuple[int, ...]]:
        """Of `scores.csv`: the lines of each selection, site and task, sorted."""
        names = zip(*(self.columns[name] for name in ("selection", "site", "task")), strict=True)
        return dict(sorted(_lines_by_name(names).items()))

    @cached_property
    def picks(self) -> dict[Where, Callable[[list[float]], Sequence[float]]]:
        """Of `scores.csv`: what picks the lines of each selection, site and task out of a column."""
        return {where: picker(lines) for where, lines in self.site_tasks.items()}

    @cached_property
    def sites(self) -> tuple[list[str], NDArray[np.intp]]:
        """All sites, sorted, and for each line the position of its site among them."""
        names, position = np.unique(self.columns["site"], return_inverse=True)
        return names.tolist(), position


def picker(lines: Sequence[int]) -> Callable[[list[float]], Sequence[float]]:
    """What picks some lines out of a column. `itemgetter` is fast, but with one line it returns a value and not a sequence."""
    return itemgetter(*lines) if len(lines) > 1 else itemgetter(slice(lines[0], lines[0] + 1))


def _lines_by_name(names: Iterable[Name]) -> dict[Name, tuple[int, ...]]:
    """The lines that have each name."""
    found: dict[Name, list[int]] = {}
    for line, name in enumerate(names):
        found.setdefault(name, []).append(line)
    return {name: tuple(own) for name, own in found.items()}


@lru_cache(maxsize=256)
def index_of(heads: tuple[str, ...], columns: tuple[tuple[str, ...], ...]) -> Index:
    """The index of columns of text with these heads."""
    return Index(dict(zip(heads, columns, strict=True)))


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A table of a run by columns: `curve.csv`, or of `scores.csv` the scores that are shown."""

    run: str
    index: Index
    numbers: Mapping[str, Sequence[str] | memoryview]  # the other columns by name: text, or float64

    @classmethod
    def read(cls, path: Path, without: str = UNSHOWN) -> ScoreTable:
        """From the CSV in a run's folder, `without` one selection."""
        return cls.parsed(path.parent.name, path.read_text(), without)

    @classmethod
    def parsed(cls, run: str, text: str, without: str = UNSHOWN) -> ScoreTable:
        """From CSV. A text with quoted cells takes longer."""
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
        return cls(run, index_of(named, tuple(columns[head] for head in named)), numbers)

    @classmethod
    def unpacked(cls, run: str, index: Index, heads: Sequence[str], numbers: bytes) -> ScoreTable:
        """From the bytes that `packed` made; `heads` are the names of its columns."""
        view: Any = memoryview(numbers).cast("d")
        count = len(view) // len(heads)
        return cls(run, index, {head: view[at * count : (at + 1) * count] for at, head in enumerate(heads)})

    def packed(self) -> bytes:
        """All numbers as float64, column by column."""
        return b"".join(array("d", map(float, own)).tobytes() for own in self.numbers.values())

    def column(self, name: str) -> list[float]:
        """The numbers of a column. Raises RecordError where there is none."""
        cells = self._cells(name)
        return cast(list[float], cells.tolist()) if isinstance(cells, memoryview) else list(map(float, cells))

    def values(self, selection: str, metrics: Sequence[str]) -> dict[str, Values]:
        """The scores of one selection by each metric, in the column's own unit; empty where the run has no such scores.

        Raises RecordError where the run was not scored by a metric, or where a row is repeated.
        """
        lines, keys = self.index.selections.get(selection, ((), ()))
        found = {}
        for metric in metrics:
            found[metric] = dict(zip(keys, _picked(self._cells(metric), lines), strict=True))
            if len(found[metric]) < len(lines):
                raise RecordError(f"{self.run}: a score of selection {selection} is there twice")
        return found

    def means(self) -> Means:
        """The means over subjects. Subjects that have no score (nan) by a metric are left out of its mean."""
        columns = [(metric, self.column(metric)) for metric in self.numbers]
        return {
            where: {metric: mean_of_known(pick(values)) for metric, values in columns}
            for where, pick in self.index.picks.items()
        }

    def _cells(self, name: str) -> Sequence[str] | memoryview:
        if name not in self.numbers:
            known = ", ".join(self.numbers)
            raise RecordError(
                f"{self.run}: it was not scored by {name}, which was not installed then; its scores have {known}. Train it "
                "again, or name the runs (PATTERN) that have it"
            )
        return self.numbers[name]


def _picked(cells: Sequence[str] | memoryview, lines: Sequence[int]) -> list[float]:
    """The numbers of some lines, ascending; those without a gap, as runs write them, at once."""
    if lines and isinstance(cells, memoryview) and len(lines) == lines[-1] - lines[0] + 1:
        return cast(list[float], cells[lines[0] : lines[-1] + 1].tolist())
    return [float(cells[line]) for line in lines]


def mean_of_known(values: Sequence[float]) -> float:
    """The mean of the values that are not nan; nan where there is none. Exact, so that it is the same on every machine."""
    if math.isnan(total := math.fsum(values)):
        values = [value for value in values if not math.isnan(value)]
        total = math.fsum(values)
    return total / len(values) if values else math.nan


def spread_of(values: Sequence[float]) -> float | None:
    """The standard deviation; None for a single value. Sums are exact, as above."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum([(value - mean) ** 2 for value in values]) / (len(values) - 1))
