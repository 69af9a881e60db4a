"""The means of a run's scores over test subjects, of every selection, site, task and metric, read in one pass."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .records import TEXT

Where = tuple[str, str, str]  # selection, site, task
Means = Mapping[Where, Mapping[str, float]]  # by metric, in the column's own unit; nan where no subject has a score


def means(folder: Path) -> Means:
    """Of the `scores.csv` in a run's folder, but for the last round's, which no figure shows.

    Subjects without a score (nan) are left out of that metric's mean.
    """
    found: dict[Where, list[list[str]]] = {}
    with (folder / "scores.csv").open(newline="") as file:
        rows = csv.reader(file)
        heads = next(rows)
        selection, site, task = (heads.index(name) for name in ("selection", "site", "task"))
        for row in rows:
            if row[selection] != "last":
                found.setdefault((row[selection], row[site], row[task]), []).append(row)
    metrics = [(index, head) for index, head in enumerate(heads) if head not in TEXT]
    return {
        where: {head: mean(map(float, columns[index])) for index, head in metrics}
        for where, own in sorted(found.items())
        for columns in [list(zip(*own, strict=True))]
    }


def mean(values: Iterable[float]) -> float:
    """Of those that are there; nan for none. Exact, so that it is the same on every machine."""
    given = list(values)
    if math.isnan(total := math.fsum(given)):
        given = [value for value in given if not math.isnan(value)]
        total = math.fsum(given)
    return total / len(given) if given else math.nan


def over_seeds(seeds: Sequence[Means], where: Where, metric: str) -> float:
    """The mean over a row's runs of one cell; nan where no run has it."""
    return mean(run[where].get(metric, math.nan) for run in seeds if where in run)
