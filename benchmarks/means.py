"""The means of a run's scores over test subjects, of every selection, site, task and metric, read in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from .sheet import Where
from .table import Finished

Means = Mapping[Where, Mapping[str, float]]  # by metric, in the column's own unit; nan where no subject has a score


def means(run: Finished) -> Means:
    """Of a run's scores, but for the last round's, which no figure shows.

    Subjects without a score (nan) are left out of that metric's mean.
    """
    sheet = run.sheet("scores.csv")
    columns = [(metric, sheet.column(metric)) for metric in sheet.numbers]
    return {
        where: {metric: mean([values[line] for line in lines]) for metric, values in columns}
        for where, lines in sheet.index.places.items()
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
