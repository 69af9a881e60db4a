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
    """Of the `scores.csv` in a run's folder. Subjects without a score (nan) are left out of that metric's mean."""
    found: dict[Where, list[list[float]]] = {}
    with (folder / "scores.csv").open(newline="") as file:
        rows = csv.reader(file)
        heads = next(rows)
        selection, site, task = (heads.index(name) for name in ("selection", "site", "task"))
        metrics = [(index, head) for index, head in enumerate(heads) if head not in TEXT]
        for row in rows:
            found.setdefault((row[selection], row[site], row[task]), []).append(
                [float(row[index]) for index, _ in metrics]
            )
    return {
        where: {head: mean(column) for (_, head), column in zip(metrics, zip(*values, strict=True), strict=True)}
        for where, values in sorted(found.items())
    }


def mean(values: Iterable[float]) -> float:
    """Of those that are there; nan for none. Exact, so that it is the same on every machine."""
    there = [value for value in values if not math.isnan(value)]
    return math.fsum(there) / len(there) if there else math.nan


def over_seeds(seeds: Sequence[Means], where: Where, metric: str) -> float:
    """The mean over a row's runs of one cell; nan where no run has it."""
    return mean(run[where].get(metric, math.nan) for run in seeds if where in run)
