"""The part of a run's tables that is asked for: thousands of them are read in seconds, as only wanted cells become numbers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from .records import TEXT, RecordError, Rows

Values = dict[tuple[str, str, str], float]  # (site, task, subject) -> score; nan where a subject has none


def read_values(folder: Path, selection: str, metrics: Sequence[str]) -> dict[str, Values]:
    """Every metric's scores of one selection, in the columns' own units; empty where the run has no such scores.

    Raises RecordError where the run was not scored by a metric, or a row is repeated.
    """
    found: dict[str, Values] = {metric: {} for metric in metrics}
    with (folder / "scores.csv").open(newline="") as file:
        rows = csv.reader(file)
        heads = next(rows)
        chosen, *place = (heads.index(name) for name in ("selection", "site", "task", "subject"))
        if missing := [metric for metric in metrics if metric not in heads]:
            told = ", ".join(head for head in heads if head not in TEXT)
            raise RecordError(f"{folder.name}: its scores have no {missing[0]}, which came later; they have {told}")
        wanted = [(heads.index(metric), found[metric]) for metric in metrics]
        count, (site, task, subject) = 0, place
        for row in rows:
            if row[chosen] == selection:
                count += 1
                key = (row[site], row[task], row[subject])
                for index, values in wanted:
                    values[key] = float(row[index])
    if any(len(values) < count for values in found.values()):
        raise RecordError(f"{folder.name}: a score of selection {selection} is there twice")
    return found


def read_columns(path: Path, names: Sequence[str]) -> Rows:
    """The named columns of a table of numbers and names, a row a line."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        heads = next(rows)
        wanted = [(name, heads.index(name), name in TEXT) for name in names]
        return [{name: row[index] if plain else float(row[index]) for name, index, plain in wanted} for row in rows]
