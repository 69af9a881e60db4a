"""Tables that are independent blocks, and the ranks of the rows that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .means import Means, mean, over_seeds
from .pair import full
from .stats.ranks import METHODS, Block, Ranks, ranks
from .stats.scores import StatsError
from .table import Row, Table


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows over blocks, the best mean rank first; named with their networks where these differ."""

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


def ranking(tables: Sequence[Table], of: Mapping[str, Means]) -> Ranking:
    """The ranks by PSNR of the rows that every table has; `of` has the means of each run, by its name.

    Smoke runs rank nothing and are left out. Raises StatsError where the tables allow no ranks; the message says why.
    """
    ranked = [table for table in tables if not table.smoke]
    if not ranked:
        raise StatsError(
            f"{len(tables)} tables, all of them smoke runs, which rank nothing" if tables else "there is no table"
        )
    found = [{full(row): score(row, table.selection, of) for row in table.rows if not row.missing} for table in ranked]
    names = sorted(set.intersection(*map(set, found)))
    if len(names) < METHODS:
        raise StatsError(
            f"{len(names)} rows are in all of {len(ranked)} ranked tables; ranks need {METHODS}: run the same methods in every "
            "scenario, or name the runs (PATTERN) that belong together"
        )
    blocks = [block(table) for table in ranked]
    scores = np.array([[own[name] for name in names] for own in found]).reshape(len(ranked), len(names))
    order = np.argsort(ranks(scores, blocks, names).mean, kind="stable")
    networks = {name.partition("/")[2] for name in names}
    names = [names[index].partition("/")[0] if len(networks) == 1 else names[index] for index in order]
    return Ranking(tuple(names), tuple(blocks), ranks(scores[:, order], blocks, names))


def block(table: Table) -> Block:
    identity = table.rows[0].runs[0].record.identity
    return identity["scenario"]["name"], identity["dataset"]["name"]


def score(row: Row, selection: str, of: Mapping[str, Means], metric: str = "psnr") -> float:
    """A row's mean over site-tasks and seeds of a metric, in the column's unit."""
    seeds = [of[run.record.run] for run in row.runs]
    places = sorted({where for own in seeds for where in own if where[0] == selection})
    return mean(over_seeds(seeds, where, metric) for where in places)
