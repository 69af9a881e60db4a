"""The matrix that the statistics start from: seeds x (site, task, subject), and what each column weighs in a table's score.

A table's score is the mean over site-tasks of the mean over subjects, so a column weighs 1 / (site-tasks x subjects of its
site-task), and the difference of two scores is the weighted mean of the differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..records.record import Rows

Floats = NDArray[np.float64]
Column = tuple[str, str, str]  # site, task, subject


class StatsError(ValueError):
    """What was asked cannot be told from these scores; the message says what was found and what is needed."""


@dataclass(frozen=True)
class Design:
    """Where the M columns of a matrix belong. A subject is known by its site and name, and may have several tasks."""

    columns: tuple[Column, ...]

    @cached_property
    def places(self) -> tuple[tuple[str, str], ...]:
        """The site-tasks, sorted."""
        return tuple(sorted({(site, task) for site, task, _ in self.columns}))

    @cached_property
    def subjects(self) -> tuple[tuple[str, str], ...]:
        """(site, subject), sorted."""
        return tuple(sorted({(site, subject) for site, _, subject in self.columns}))

    @cached_property
    def sites(self) -> tuple[str, ...]:
        return tuple(sorted({site for site, *_ in self.columns}))

    @cached_property
    def in_place(self) -> Floats:
        """[M, site-tasks], 1 where a column is of a site-task."""
        return indicator([self.places.index((site, task)) for site, task, _ in self.columns])

    @cached_property
    def of_subject(self) -> Floats:
        """[M, subjects], 1 where a column is of a subject."""
        number = {subject: index for index, subject in enumerate(self.subjects)}
        return indicator([number[site, subject] for site, _, subject in self.columns])

    @cached_property
    def at_site(self) -> Floats:
        """[subjects, sites], 1 where a subject is of a site."""
        return indicator([self.sites.index(site) for site, _ in self.subjects])

    @cached_property
    def weights(self) -> Floats:
        """[M], of a column in the table's score; they sum to 1."""
        return 1 / (len(self.places) * self.in_place @ self.in_place.sum(0))

    @cached_property
    def fewest(self) -> Floats:
        """[sites], the number of subjects of that task of a site which has the fewest."""
        counts = self.in_place.sum(0)
        own = [[count for (at, _), count in zip(self.places, counts, strict=True) if at == site] for site in self.sites]
        return np.array([min(counts) for counts in own])

    def place_means(self, values: Floats) -> Floats:
        """[..., M] to [..., site-tasks]: the mean over subjects."""
        return values @ self.in_place / self.in_place.sum(0)

    def subject_means(self, values: Floats) -> Floats:
        """[..., M] to [..., subjects]: a subject's mean over tasks, each weighed as in the table."""
        return (values * self.weights) @ self.of_subject / (self.weights @ self.of_subject)

    def site_means(self, values: Floats) -> Floats:
        """[..., M] to [..., sites]: the mean over a site's tasks of the mean over subjects."""
        own = indicator([self.sites.index(site) for site, _ in self.places])
        return self.place_means(values) @ own / own.sum(0)


@dataclass(frozen=True, eq=False)
class Scores:
    """A metric of one method, or the difference of two: `values` [seeds, M] in the metric's unit, higher is better.

    Raises StatsError where the shape does not fit, a seed or column is repeated, or a value is not finite.
    """

    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    values: Floats

    def __post_init__(self) -> None:
        shape = (len(self.seeds), len(self.columns))
        if self.values.shape != shape or not self.values.size:
            raise StatsError(f"scores of shape {self.values.shape} for {shape[0]} seeds and {shape[1]} columns")
        if (len(set(self.seeds)), len(set(self.columns))) != shape:
            raise StatsError("a seed or a (site, task, subject) is repeated; give each once")
        if not np.isfinite(self.values).all():
            seed, column = np.argwhere(~np.isfinite(self.values))[0]
            place = " ".join(self.columns[column])
            raise StatsError(
                f"the score of seed {self.seeds[seed]}, {place} is {self.values[seed, column]}; it must be a finite number"
            )

    @property
    def design(self) -> Design:
        return design_of(self.columns)

    @classmethod
    def of(cls, runs: Mapping[int, Rows], metric: str, scale: float = 1) -> Scores:
        """From the score rows of each seed's run, all of one selection; `scale` is negative where less is better.

        Raises StatsError where a row is repeated, and as `stack` does.
        """
        found: dict[int, dict[Column, float]] = {}
        for seed, rows in runs.items():
            found[seed] = {(row["site"], row["task"], row["subject"]): row[metric] for row in rows}
            if len(found[seed]) < len(rows):
                raise StatsError(
                    f"seed {seed}: {len(rows)} rows of {len(found[seed])} (site, task, subject); "
                    "give the rows of one run and one selection"
                )
        return cls.stack(found, scale)

    @classmethod
    def stack(cls, runs: Mapping[int, Mapping[Column, float]], scale: float = 1) -> Scores:
        """From (site, task, subject) -> score of each seed's run; `scale` is negative where less is better.

        Subjects without a score (nan) in every seed, as those without a lesion have none inside it, are left out. Raises
        StatsError where seeds have other subjects, none has a score, or one has some in a part of the seeds.
        """
        if not runs or not all(runs.values()):
            raise StatsError(f"{len(runs)} seeds, one or all without a row; give the scores of finished runs")
        seeds = tuple(sorted(runs))
        columns = tuple(sorted(runs[seeds[0]]))
        for seed in seeds:
            if runs[seed].keys() != runs[seeds[0]].keys():
                different = set(columns) ^ set(runs[seed])
                raise StatsError(f"only one of the seeds {seeds[0]} and {seed} has {min(different)}; give equal data")
        values = scale * np.array([[runs[seed][column] for column in columns] for seed in seeds], dtype=np.float64)
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

    def along(self, columns: tuple[Column, ...]) -> Floats:
        """The values in another order of the same columns."""
        if columns == self.columns:
            return self.values
        number = {column: index for index, column in enumerate(self.columns)}
        return self.values[:, [number[column] for column in columns]]


@lru_cache(maxsize=8)
def design_of(columns: tuple[Column, ...]) -> Design:
    """One for all methods of a table: of a thousand subjects it takes longer to make than a comparison."""
    return Design(columns)


def indicator(numbers: list[int]) -> Floats:
    """[M, groups] with a 1 a row, from the group's number of each row."""
    return np.eye(max(numbers) + 1)[numbers]
