"""A row of a table: a method on a network, with its scores averaged over subjects, then site-tasks, then seeds.

Sums are exact (`math.fsum`), so a table comes out the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import chain
from math import isnan, sqrt
from statistics import fmean, median
from typing import Any

from fedsynth.runtime.options import TrainerOptions

from ..records.finished import FinishedRun
from ..records.score_table import Key, Values, mean_of_known, picker, spread_of
from ..stats.scores import Scores, StatsError
from ..stats.validation_curve import LIMITED, ValidationCurve, rising
from .labels import OWN
from .metric import Metric
from .statistics import RowStatistics

SHOWN = ("psnr", "ssim", "psnr_fg", "ssim_fg", "nmse")  # in every table, beside the metric that orders it
STALLED = 5.0  # times as long as the median of its row: more than runs that share a machine differ

SiteTask = tuple[str, str]  # site, task
RowName = tuple[str, str]  # method, network


@dataclass(frozen=True)
class Score:
    """A row's score by one metric."""

    mean: float  # over site-tasks and seeds
    sd: float | None  # over seeds, of the mean over site-tasks; None for one seed
    site_tasks: dict[SiteTask, float]
    subjects: int  # the number of (site, task, subject) with a score, in each seed
    without: int = 0  # the number of those without: a subject without a lesion has no score inside lesions

    @classmethod
    def of(cls, seeds: Sequence[Values], scale: float = 1) -> Score | None:
        """The mean over subjects, then site-tasks, then seeds, from the scores of each seed.

        Subjects without a score (nan) are left out, and so are site-tasks where nobody has one. None where nobody has any.
        """
        means = [_site_task_means(values, scale) for values in seeds]
        if not all(means):
            return None
        overall = [fmean(own.values()) for own in means]
        spread = spread_of(overall)
        without = sum(map(isnan, seeds[0].values()))
        over_seeds = {site_task: fmean([own[site_task] for own in means]) for site_task in means[0]}
        return cls(fmean(overall), spread, over_seeds, len(seeds[0]) - without, without)


def _site_task_means(values: Values, scale: float = 1) -> dict[SiteTask, float]:
    """The mean over test subjects of every site and task, sorted."""
    scaled = list(values.values()) if scale == 1 else [scale * value for value in values.values()]
    means = {site_task: mean_of_known(pick(scaled)) for site_task, pick in _picks(tuple(values)).items()}
    return {site_task: mean for site_task, mean in means.items() if not isnan(mean)}


@lru_cache(maxsize=64)
def _picks(keys: tuple[Key, ...]) -> dict[SiteTask, Callable[[list[float]], Sequence[float]]]:
    """For every site-task, sorted, the function that picks its values out of those of all keys."""
    numbers: dict[SiteTask, list[int]] = {}
    for number, (site, task, _) in enumerate(keys):
        numbers.setdefault((site, task), []).append(number)
    return {site_task: picker(own) for site_task, own in sorted(numbers.items())}


@dataclass(frozen=True)
class Row:
    """A method on a network. A row with a missing seed has neither scores nor rank; rank_rule.py says when there are ranks."""

    method: str  # its name, the options that were changed and, where it tells rows apart, the digest of its code
    network: str
    runs: tuple[FinishedRun, ...]  # one a seed, by seed
    missing: tuple[int, ...]  # seeds that other rows of the table have, or of which no run counts
    metric: Metric  # orders the table
    scores: dict[str, Score]  # by metric, in the units of metric.py; without the metrics that no subject has a score in
    matrices: Mapping[str, Scores]  # likewise, of all seeds and (site, task, subject), higher is better
    curves: tuple[ValidationCurve, ...]  # of every run; empty where one has no round in which all sites were validated
    rising: tuple[float, ...]  # dB in the last quarter of the rounds, a seed each; empty where a run has too few rounds
    bytes_up: float  # a site and round; with the images that are shipped once
    bytes_down: float
    rank: tuple[int, int] | None = None  # the best and the worst that it may be
    statistics: RowStatistics | None = None
    disputed: tuple[int, ...] = ()  # the missing seeds whose records differ
    left: str = ""  # why the row is in no family of tests
    below_lookup: bool | None = None  # its mean is worse than that of the look-up table; None where that is not known

    @classmethod
    def of(
        cls,
        runs: Sequence[FinishedRun],
        method: str,
        network: str,
        seeds: Sequence[int],
        selection: str,
        metric: Metric,
        disputed: tuple[int, ...] = (),
    ) -> Row:
        """The row of these runs, without what the table decides: rank, statistics, flags. `seeds` are those of the table."""
        missing = tuple(sorted(set(seeds) - {run.record.identity["seed"] for run in runs}))
        scores: dict[str, Score] = {}
        matrices: dict[str, Scores] = {}
        if not missing:
            shown = tuple(dict.fromkeys((metric.column, *SHOWN)))
            values = [run.values(selection, shown) for run in runs]
            for name in shown:
                if score := Score.of([own[name] for own in values], abs(Metric.of(name).scale)):
                    scores[name] = score
            for name in scores:
                with nullcontext() if name == metric.column else suppress(StatsError):
                    matrices[name] = _matrix(runs, [own[name] for own in values], Metric.of(name))
        tables = [run.curve_table for run in runs]
        curves = tuple(
            ValidationCurve.of(table, run.tasks, run.images_shipped) for run, table in zip(runs, tables, strict=True)
        )
        if not all(curve.is_whole and len(curve.rounds) for curve in curves):
            curves = ()
        up, down = (fmean([*chain(*(table.column(name) for table in tables))]) for name in ("bytes_up", "bytes_down"))
        up += fmean(run.images_shipped / len(run.tasks) / run.rounds for run in runs)
        slopes = [slope for curve in curves if (slope := rising(curve)) is not None]
        rise = tuple(slopes) if len(slopes) == len(curves) else ()
        row = cls(method, network, tuple(runs), missing, metric, scores, matrices, curves, rise, up, down)
        return replace(row, disputed=disputed) if disputed else row

    @property
    def matrix(self) -> Scores | None:
        """That of the metric that orders the table; None for a row with a missing seed, or where nobody has a score."""
        return self.matrices.get(self.metric.column)

    def matrix_of(self, selection: str, metric: Metric) -> Scores | None:
        """The scores of a selection by any metric, like `matrix`. Raises RecordError where a run was not scored by it."""
        if self.missing:
            return None
        values = [run.values(selection, [metric.column])[metric.column] for run in self.runs]
        return _matrix(self.runs, values, metric) if Score.of(values) else None

    @property
    def name(self) -> RowName:
        return self.method, self.network

    @property
    def full_name(self) -> str:
        """The name that means this row and no other when it is typed."""
        return "/".join(self.name)

    @property
    def psnr(self) -> Score | None:
        """In dB."""
        return self.scores.get("psnr")

    @property
    def ssim(self) -> Score | None:
        """Times 100."""
        return self.scores.get("ssim")

    @property
    def changes(self) -> int:
        """How many options of the method and the network, and of OWN, are not their defaults."""
        trainer, changed = self.identity["trainer"], self.runs[0].record.changed
        own = [name for name, default in _own_defaults().items() if trainer[name] != default]
        return len(own) + sum(map(len, changed.values()))

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.record.identity["seed"] for run in self.runs)

    @property
    def diverged(self) -> int:
        """How many seeds diverged."""
        return sum(run.record.status == "diverged" for run in self.runs)

    @property
    def still_rises(self) -> bool | None:
        """Whether more rounds may change what the table says of the row; None where it is not known.

        They may if the mean rise plus two standard errors reaches LIMITED dB and half of the interval of the gain (of the
        mean, for a row without a gain).
        """
        if not self.rising:
            return None
        error = (spread_of(self.rising) or 0.0) / sqrt(len(self.rising))
        limit, own = LIMITED, self.statistics
        if own and own.margin is not None and self.metric.column == "psnr":
            limit = max(limit, own.gain.comparison.margin if own.gain else own.margin)
        return fmean(self.rising) + 2 * error >= limit

    @property
    def flags(self) -> tuple[str, ...]:
        """What must be read with the row's numbers, in a few words each."""
        count = len(self.seeds)
        known = {
            f"{len(self.missing)} of {count + len(self.missing)} seeds missing": self.missing,
            f"{self.diverged} of {count} diverged": self.diverged,
            f"{self.below_floor} of {count} below copied source": self.below_floor,
            "below look-up table": self.below_lookup,
            "rising": self.still_rises,
            self.left: self.left and not self.diverged,
        }
        return tuple(flag for flag, holds in known.items() if holds)

    @property
    def claims(self) -> bool:
        """Whether a test of the row holds and says something: none of its seeds diverged, and it beats what needs no training."""
        return not self.diverged and self.below_lookup is False

    @property
    def below_floor(self) -> int:
        """How many seeds ended below copying the source."""
        return sum(run.record.below_floor for run in self.runs)

    @property
    def rounds_with_too_few(self) -> int:
        """In how many rounds of all seeds too few uploads arrived for the server rule."""
        return sum(int(run.record.costs.get("rounds_with_too_few", 0)) for run in self.runs)

    @property
    def policy(self) -> str:
        """How the buffers of the network travel."""
        return self.runs[0].record.policy

    @property
    def identity(self) -> dict[str, Any]:
        """The identity of the first run: every option, and the digests of data and code."""
        return self.runs[0].record.identity

    @property
    def code(self) -> dict[str, str]:
        """The digests of the code of the method, the network and the data set."""
        code: dict[str, str] = self.identity["code"]
        return code

    def cost(self, name: str) -> float:
        """A cost of a whole run, mean over seeds; `name` is one of records.COSTS."""
        return fmean(run.cost(name) for run in self.runs)

    @property
    def seconds_a_round(self) -> float:
        """The median over seeds: one stalled run does not change it."""
        return median(run.cost("seconds") / run.rounds for run in self.runs)

    @property
    def stalled(self) -> dict[int, float]:
        """Seed -> seconds a round of the runs that took more than STALLED times the median."""
        found = {run.record.identity["seed"]: run.cost("seconds") / run.rounds for run in self.runs}
        return {seed: seconds for seed, seconds in found.items() if seconds > STALLED * self.seconds_a_round}


@cache
def _own_defaults() -> dict[str, Any]:
    """The defaults of the trainer's options that tell rows apart."""
    trainer = TrainerOptions()
    return {name: getattr(trainer, name) for name in OWN} | {"server_rule": trainer.server_rule.value}


def plain_rows(rows: Sequence[Row]) -> list[Row]:
    """Of the rows of each method and network, by name, those with the fewest options changed; the others are ablations."""
    named = [tuple(row.identity[kind]["name"] for kind in ("method", "network")) for row in rows]
    fewest: dict[tuple[str, ...], int] = {}
    for name, row in zip(named, rows, strict=True):
        fewest[name] = min(row.changes, fewest.get(name, row.changes))
    return [row for name, row in zip(named, rows, strict=True) if row.changes == fewest[name]]


def _matrix(runs: Sequence[FinishedRun], values: Sequence[Values], metric: Metric) -> Scores:
    """The scores of each run, higher is better."""
    return Scores.of({run.record.identity["seed"]: own for run, own in zip(runs, values, strict=True)}, metric.scale)
