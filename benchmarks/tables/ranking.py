"""Tables that are independent blocks, and the ranks of the rows that all of them have.

A block is a scenario on a data set (stats/ranks.py says why a site is none). Tables without ranks (rank_rule.py) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..stats.ranks import METHODS, Block, Ranks, ranks
from ..stats.scores import Floats, StatsError
from .row import Row, RowName
from .table import Table


@dataclass(frozen=True, eq=False)
class SharedRows:
    """The rows that have scores in every table that ranks, the best mean rank first."""

    tables: tuple[Table, ...]
    rows: tuple[Mapping[RowName, Row], ...]  # of each table
    names: tuple[RowName, ...]
    scores: Floats  # [tables, names] of the tables' metric, higher is better

    @classmethod
    def of(cls, tables: Sequence[Table]) -> SharedRows:
        ranked = tuple(table for table in tables if not table.not_ranked)
        rows = tuple({row.name: row for row in table.rows if row.matrix} for table in ranked)
        names = sorted(set.intersection(*map(set, rows))) if rows else []
        means = [
            [table.metric.sign * own[name].scores[table.metric.column].mean for name in names]
            for table, own in zip(ranked, rows, strict=True)
        ]
        scores = np.array(means).reshape(len(ranked), len(names))
        order = np.argsort((scores[:, None, :] > scores[:, :, None]).sum((0, 2)), kind="stable")
        return cls(ranked, rows, tuple(names[column] for column in order), scores[:, order])


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows over blocks, the best mean rank first; their names have the network where rows differ in it."""

    names: tuple[str, ...]
    blocks: tuple[Block, ...]  # scenario, data set
    ranks: Ranks

    def cliques(self) -> list[tuple[int, int]]:
        """First and last of each longest run of rows whose mean ranks are no further apart than the critical difference."""
        mean, found = self.ranks.mean, list[tuple[int, int]]()
        for first in range(len(mean)):
            last = int(np.flatnonzero(mean - mean[first] <= self.ranks.critical)[-1])
            if last > first and not any(last <= end for _, end in found):
                found.append((first, last))
        return found


def ranking(tables: Sequence[Table]) -> Ranking:
    """The ranks of the rows that every table has. Raises StatsError where the tables allow none; the message says why."""
    shared = SharedRows.of(tables)
    if not shared.tables:
        raise StatsError(
            f"none of {len(tables)} tables is ranked; the notes of each say why" if tables else "there is no table"
        )
    if len(shared.names) < METHODS:
        raise StatsError(
            f"{len(shared.names)} rows are in all of {len(shared.tables)} ranked tables; ranks need {METHODS}: run the same "
            "methods in every scenario, or name the runs (PATTERN) that belong together"
        )
    one_network = len({network for _, network in shared.names}) == 1
    names = tuple(method if one_network else f"{method}/{network}" for method, network in shared.names)
    identities = [table.record.identity for table in shared.tables]
    blocks = tuple((identity["scenario"]["name"], identity["dataset"]["name"]) for identity in identities)
    return Ranking(names, blocks, ranks(shared.scores, blocks, names))
