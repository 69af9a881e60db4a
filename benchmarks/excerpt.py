"""The part of a run's tables that is asked for: thousands of them are read in seconds, as only wanted cells become numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from .records import TEXT, RecordError, Rows

PLACE = ("site", "task", "subject")

Values = dict[tuple[str, str, str], float]  # (site, task, subject) -> score; nan where a subject has none


def read_values(folder: Path, selection: str, metrics: Sequence[str]) -> dict[str, Values]:
    """Every metric's scores of one selection, in the columns' own units; empty where the run has no such scores.

    Raises RecordError where the run was not scored by a metric, or a row is repeated.
    """
    path = folder / "scores.csv"
    heads = header(path)
    if missing := [metric for metric in metrics if metric not in heads]:
        told = ", ".join(head for head in heads if head not in TEXT)
        raise RecordError(f"{folder.name}: its scores have no {missing[0]}, which came later; they have {told}")
    chosen, *place = (heads.index(name) for name in ("selection", *PLACE))
    wanted = [heads.index(metric) for metric in metrics]
    rows = [row for row in cells(path, max(chosen, *place, *wanted)) if row[chosen] == selection]
    keys = list(map(itemgetter(*place), rows))
    if len(set(keys)) < len(keys):
        raise RecordError(f"{folder.name}: a score of selection {selection} is there twice")
    return {
        metric: dict(zip(keys, (float(row[index]) for row in rows), strict=True))
        for metric, index in zip(metrics, wanted, strict=True)
    }


def read_columns(path: Path, names: Sequence[str]) -> Rows:
    """The named columns of a table of numbers and names, a row a line."""
    heads = header(path)
    numbers = [heads.index(name) for name in names]
    rows = list(cells(path, max(numbers)))
    columns = [
        [row[number] if name in TEXT else float(row[number]) for row in rows]
        for name, number in zip(names, numbers, strict=True)
    ]
    return [dict(zip(names, found, strict=True)) for found in zip(*columns, strict=True)]


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def cells(path: Path, last: int) -> Iterator[list[str]]:
    """The rows below the header, up to column `last` and some rest; what is quoted takes the slower way."""
    text = path.read_text()
    if '"' in text:
        rows = csv.reader(io.StringIO(text, newline=""))
        next(rows)
        return rows
    return (line.split(",", last + 1) for line in text.split("\n")[1:] if line)
