"""A metric of a row of a table: its mean over site-tasks and seeds, and what it is a mean of.

Sums are exact (`math.fsum`), so a table comes out the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan
from operator import itemgetter
from statistics import fmean, stdev

from ..records.finished import Finished
from ..records.score_table import Values, Where

SiteTask = tuple[str, str]  # site, task


@dataclass(frozen=True)
class Score:
    """Its mean over site-tasks and seeds, the spread over seeds, the mean of every site-task, and its subjects."""

    mean: float
    sd: float | None  # over seeds, of the mean over site-tasks; None for one seed
    places: dict[SiteTask, float]
    subjects: int  # (site, task, subject) with a score, of a seed
    without: int = 0  # those without, as subjects have no score inside a lesion that they have not

    @classmethod
    def of(cls, seeds: Sequence[Values], scale: float = 1) -> Score | None:
        """From the scores of each seed: the mean over subjects, then site-tasks, then seeds.

        Subjects without a score (nan) are left out, and so are site-tasks where nobody has one. None where nobody has any.
        """
        means = [by_place(values, scale) for values in seeds]
        if not all(means):
            return None
        overall = [fmean(places.values()) for places in means]
        spread = stdev(overall) if len(overall) > 1 else None
        without = sum(map(isnan, seeds[0].values()))
        places = {place: fmean([places[place] for places in means]) for place in means[0]}
        return cls(fmean(overall), spread, places, len(seeds[0]) - without, without)


def by_place(values: Values, scale: float = 1) -> dict[SiteTask, float]:
    """The mean over test subjects of every site and task, sorted."""
    every = list(values.values()) if scale == 1 else [scale * value for value in values.values()]
    found = {}
    for place, pick in grouping(tuple(values)):
        own = pick(every)
        if isnan(mean := fmean(own)):
            own = [value for value in own if not isnan(value)]
            if not own:
                continue
            mean = fmean(own)
        found[place] = mean
    return found


@lru_cache(maxsize=64)
def grouping(keys: tuple[tuple[str, str, str], ...]) -> list[tuple[SiteTask, Callable[[list[float]], Sequence[float]]]]:
    """Every place, sorted, and what picks its values out of those of all keys."""
    found: dict[SiteTask, list[int]] = {}
    for number, (site, task, _) in enumerate(keys):
        found.setdefault((site, task), []).append(number)
    return [(place, picker(own)) for place, own in sorted(found.items())]


def picker(numbers: Sequence[int]) -> Callable[[list[float]], Sequence[float]]:
    """Picks several values, as a sequence for one too."""
    if len(numbers) == 1:
        return lambda every: [every[numbers[0]]]
    return itemgetter(*numbers)


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
