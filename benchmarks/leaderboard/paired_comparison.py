"""Two rows of a table on the seeds that both have: their scores, and what the scores say of the difference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..records.finished import FinishedRun
from ..stats.compare import Comparison, compare
from ..stats.scores import Scores, StatsError
from ..tables.metric import Metric
from ..tables.row import Row
from ..tables.table import Table


@dataclass(frozen=True)
class PairedComparison:
    """Two rows of a table on the seeds that both have."""

    table: Table
    a: Row
    b: Row
    metric: Metric
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, table: Table, a: Row, b: Row, metric: Metric) -> PairedComparison:
        """Raises StatsError where the rows have no seed in common, or scores that are missing or not finite."""
        seeds = tuple(sorted(set(a.seeds) & set(b.seeds)))
        if not seeds:
            raise StatsError(
                f"A has seeds {list(a.seeds)}, B {list(b.seeds)}, none in common; run both with the same seeds"
            )
        pair = cls(table, a, b, metric, seeds)
        _ = pair.differences
        return pair

    def runs(self, row: Row) -> list[FinishedRun]:
        return [run for run in row.runs if run.record.identity["seed"] in self.seeds]

    def _scores(self, row: Row) -> Scores:
        name, selection = self.metric.column, self.table.selection
        chosen = {run.record.identity["seed"]: run.values(selection, [name])[name] for run in self.runs(row)}
        return Scores.of(chosen, self.metric.scale)

    @cached_property
    def scores(self) -> tuple[Scores, Scores]:
        """A's and B's, higher is better."""
        return self._scores(self.a), self._scores(self.b)

    @cached_property
    def differences(self) -> Scores:
        """Above 0 A is better."""
        return self.scores[0].minus(self.scores[1])

    @property
    def difference(self) -> float:
        """Of the table's two scores."""
        return float(np.mean(self.differences.values @ self.differences.design.weights))

    @cached_property
    def comparison(self) -> Comparison | StatsError:
        """What the scores support, or why they support nothing."""
        try:
            return compare(self.differences)
        except StatsError as error:
            return error

    def at(self, place: tuple[str, str]) -> Scores:
        """The differences at a site-task alone."""
        kept = [index for index, column in enumerate(self.differences.columns) if column[:2] == place]
        columns = tuple(self.differences.columns[index] for index in kept)
        return Scores(self.seeds, columns, self.differences.values[:, kept])

    @property
    def names(self) -> tuple[str, str]:
        """As short as tells the rows apart."""
        same = self.a.network == self.b.network
        a, b = (row.method if same else row.full_name for row in (self.a, self.b))
        return a, b
