"""Two rows of a table on the seeds that both have: their scores, and what the scores say of the difference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..records.finished import FinishedRun
from ..stats.compare import Comparison, compare
from ..stats.scores import Scores, StatsError
from ..tables.metric import Metric
from ..tables.row import Row, SiteTask
from ..tables.statistics import Decision
from ..tables.table import Table


@dataclass(frozen=True)
class PairedComparison:
    """Rows A and B of a table, compared on the seeds that both have."""

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
        comparison = cls(table, a, b, metric, seeds)
        _ = comparison.differences  # raises the error
        return comparison

    def runs(self, row: Row) -> list[FinishedRun]:
        return [run for run in row.runs if run.record.identity["seed"] in self.seeds]

    def _scores(self, row: Row) -> Scores:
        name, selection = self.metric.column, self.table.selection
        by_seed = {run.record.identity["seed"]: run.values(selection, [name])[name] for run in self.runs(row)}
        return Scores.of(by_seed, self.metric.scale)

    @cached_property
    def scores(self) -> tuple[Scores, Scores]:
        """The scores of A and of B, higher is better."""
        return self._scores(self.a), self._scores(self.b)

    @cached_property
    def differences(self) -> Scores:
        """A minus B; where a difference is above 0, A is better."""
        return self.scores[0].minus(self.scores[1])

    @property
    def difference(self) -> float:
        """The difference of the two rows' scores."""
        return float(np.mean(self.differences.values @ self.differences.design.weights))

    @cached_property
    def result(self) -> Comparison | StatsError:
        """What the scores support, or why they support nothing."""
        try:
            return compare(self.differences)
        except StatsError as error:
            return error

    @cached_property
    def decision(self) -> Decision | None:
        """What the table's family of all pairs decides; exploratory where a row has left it, or has seeds of its own."""
        if not isinstance(self.result, Comparison):
            return None
        pairs = self.table.statistics(self.metric.column).pairs
        if pairs is None or any(row.seeds != self.seeds for row in (self.a, self.b)):
            return Decision(self.result)
        one, other = (next(at for at, row in enumerate(self.table.rows) if row is own) for own in (self.a, self.b))
        return pairs.decision(self.result, one, other)

    def differences_at(self, site_task: SiteTask) -> Scores:
        """The differences at one site-task alone."""
        kept = [index for index, column in enumerate(self.differences.columns) if column[:2] == site_task]
        columns = tuple(self.differences.columns[index] for index in kept)
        return Scores(self.seeds, columns, self.differences.values[:, kept])

    @property
    def names(self) -> tuple[str, str]:
        """The shortest names that tell the rows apart."""
        same_network = self.a.network == self.b.network
        a, b = (row.method if same_network else row.full_name for row in (self.a, self.b))
        return a, b
