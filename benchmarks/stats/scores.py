"""The matrix that the statistics start from: seeds x (site, task, subject), and what each column weighs in a table's score.

A table's score is the mean over site-tasks of the mean over subjects. So a column weighs 1 / (site-tasks x subjects of its
site-task), and the difference of two scores is the weighted mean of the differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Key = tuple[str, str, str]  # site, task, subject


class StatsError(ValueError):
    """These scores do not allow what was asked of them; the message says what was found and what is needed."""


@dataclass(frozen=True)
class Design:
    """Which site, task and subject the M columns of a matrix belong to. A subject is known by its site and name, and may have
    several tasks."""

    columns: tuple[Key, ...]

    @cached_property
    def site_tasks(self) -> tuple[tuple[str, str], ...]:
        """(site, task), sorted."""
        return tuple(sorted({(site, task) for site, task, _ in self.columns}))

    @cached_property
    def subjects(self) -> tuple[tuple[str, str], ...]:
        """(site, subject), sorted."""
        return tuple(sorted({(site, subject) for site, _, subject in self.columns}))

    @cached_property
    def sites(self) -> tuple[str, ...]:
        return tuple(sorted({site for site, *_ in self.columns}))

    @cached_property
    def in_site_task(self) -> Floats:
        """[M, site-tasks], 1 where a column is of a site-task."""
        return _indicator([self.site_tasks.index((site, task)) for site, task, _ in self.columns])

    @cached_property
    def of_subject(self) -> Floats:
        """[M, subjects], 1 where a column is of a subject."""
        number = {subject: index for index, subject in enumerate(self.subjects)}
        return _indicator([number[site, subject] for site, _, subject in self.columns])

    @cached_property
    def at_site(self) -> Floats:
        """[subjects, sites], 1 where a subject is of a site."""
        return _indicator([self.sites.index(site) for site, _ in self.subjects])

    @cached_property
    def weights(self) -> Floats:
        """[M], what each column weighs in the table's score; they sum to 1."""
        return 1 / (len(self.site_tasks) * self.in_site_task @ self.in_site_task.sum(0))

    @cached_property
    def fewest(self) -> Floats:
        """[sites], the number of subjects in that task of a site which has the fewest."""
        counts = self.in_site_task.sum(0)
        own = [
            [count for (at, _), count in zip(self.site_tasks, counts, strict=True) if at == site] for site in self.sites
        ]
        return np.array([min(counts) for counts in own])

    def site_task_means(self, values: Floats) -> Floats:
        """[..., M] to [..., site-tasks]: the mean over subjects."""
        return values @ self.in_site_task / self.in_site_task.sum(0)

    def subject_means(self, values: Floats) -> Floats:
        """[..., M] to [..., subjects]: a subject's mean over tasks, each weighted as in the table."""
        return (values * self.weights) @ self.of_subject / (self.weights @ self.of_subject)

    def site_means(self, values: Floats) -> Floats:
        """[..., M] to [..., sites]: the mean over a site's tasks of the mean over subjects."""
        own = _indicator([self.sites.index(site) for site, _ in self.site_tasks])
        return self.site_task_means(values) @ own / own.sum(0)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one method by a metric, or the differences of two methods: `values` [seeds, M] in the metric's unit, higher
    is better.

    Raises StatsError where the shape does not fit, a seed or column is repeated, or a value is not finite.
    """

    seeds: tuple[int, ...]
    columns: tuple[Key, ...]
    values: Floats

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.columns))
        if self.values.shape != shape or not self.values.size:
            raise StatsError(f"scores of shape {self.values.shape} for {shape[0]} seeds and {shape[1]} columns")
        if (len(set(self.seeds)), len(set(self.columns))) != shape:
            raise StatsError("a seed or a (site, task, subject) is repeated; give each once")
        if not np.isfinite(self.values).all():
            seed, column = np.argwhere(~np.isfinite(self.values))[0]
            key = " ".join(self.columns[column])
            raise StatsError(
                f"the score of seed {self.seeds[seed]}, {key} is {self.values[seed, column]}; it must be a finite number"
            )

    @property
    def design(self) -> Design:
        return _design_of(self.columns)

    @classmethod
    def of(cls, runs: Mapping[int, Mapping[Key, float]], scale: float = 1) -> Scores:
        """From (site, task, subject) -> score of each seed's run; `scale` is negative where less is better.

        Subjects that have no score (nan) in any seed are left out: a subject without a lesion has no score inside lesions.
        Raises StatsError where seeds have other subjects, where nobody has a score, or where a subject has one in some of the
        seeds only.
        """
        if not runs or not all(runs.values()):
            raise StatsError(f"{len(runs)} seeds, one or all without a row; give the scores of finished runs")
        seeds = tuple(sorted(runs))
        keys, lines = tuple(runs[seeds[0]]), []
        for seed in seeds:
            if different := runs[seed].keys() ^ keys if tuple(runs[seed]) != keys else ():
                raise StatsError(f"only one of the seeds {seeds[0]} and {seed} has {min(different)}; give equal data")
            lines.append([runs[seed][key] for key in keys] if tuple(runs[seed]) != keys else [*runs[seed].values()])
        columns, order = _sorted(keys)
        values = scale * np.array(lines, dtype=np.float64)[:, order]
        if (absent := np.isnan(values).all(0)).any():
            kept = np.flatnonzero(~absent)
            if not kept.size:
                raise StatsError(f"none of {len(columns)} (site, task, subject) has a score; choose another metric")
            columns, values = tuple(columns[index] for index in kept), values[:, kept]
        return cls(seeds, columns, values)

    def minus(self, other: Scores) -> Scores:
        """The differences, positive where self is better. Raises StatsError unless seeds and columns are the same."""
        if self.seeds != other.seeds:
            raise StatsError(f"seeds {self.seeds} against {other.seeds}; run both methods with the same seeds")
        if different := set(self.columns) ^ set(other.columns):
            raise StatsError(f"only one method has a score of {min(different)}; compare runs on equal data")
        return Scores(self.seeds, self.columns, self.values - other.along(self.columns))

    def along(self, columns: tuple[Key, ...]) -> Floats:
        """The values in another order of the same columns."""
        if columns == self.columns:
            return self.values
        number = {column: index for index, column in enumerate(self.columns)}
        return self.values[:, [number[column] for column in columns]]


@lru_cache(maxsize=64)
def _sorted(keys: tuple[Key, ...]) -> tuple[tuple[Key, ...], list[int]]:
    """The keys, sorted, and where each of them was."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return tuple(keys[at] for at in order), order


@lru_cache(maxsize=8)
def _design_of(columns: tuple[Key, ...]) -> Design:
    """One object for all methods of a table: with a thousand subjects it takes longer to make than a comparison."""
    return Design(columns)


def _indicator(numbers: list[int]) -> Floats:
    """[M, groups] with a single 1 in each row, in the column that `numbers` names."""
    return np.eye(max(numbers) + 1)[numbers]
