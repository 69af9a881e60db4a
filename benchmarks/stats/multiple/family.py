"""The methods of a table, and the differences of theirs that are tested together: a family, with a family-wise error of 5 %.

A pair's difference and standard error are those of `stats/compare.py`. With five seeds a standard error has four degrees of
freedom, and among many pairs some come out far too small by chance: that is where the largest t lies. So a pair's standard error
counts as at least the median of all pairs of the family's methods, and the largest |t| of the family is referred to what it is
among equal methods (reference.py). The p value of a pair is how often a table of equal methods has, anywhere in the family, so
large a |t|; its interval holds together with all others of the family, and excludes 0 where p is below 5 %.

What this is worth was measured (docs/statistics.md): Holm's correction of p values with Satterthwaite's degrees of freedom does
not hold the family's 5 %, and with the degrees of freedom of the seeds it does but sees little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..compare import FEW_SEEDS, require_estimable, two_way_of_pairs
from ..scores import Floats, Scores, StatsError
from .reference import Pair, reference


@dataclass(frozen=True, eq=False)
class Decisions:
    """What is decided of the pairs of a family, in their order."""

    pairs: tuple[Pair, ...]
    difference: Floats  # the first of a pair minus the second
    margin: Floats  # half of the interval that holds together with all others of the family
    p: Floats  # below 5 % where the interval excludes 0


@dataclass(frozen=True, eq=False)
class Family:
    """K methods on the same seeds and data."""

    difference: Floats  # [K, K], row minus column
    error: Floats  # [K, K], at least the median of all pairs
    freedom: int  # of the scarcer of seeds and subjects

    @classmethod
    def of(cls, methods: Sequence[Scores]) -> Family:
        """Raises StatsError for fewer than two methods or FEW_SEEDS seeds, methods on unequal seeds or data, and as `compare`
        does."""
        first = methods[0]
        for other in methods[1:]:
            first.minus(other)
        require_estimable(first)
        if len(first.seeds) < FEW_SEEDS:
            raise StatsError(f"{len(first.seeds)} seeds; below {FEW_SEEDS} no significance is drawn")
        if len(methods) < 2:
            raise StatsError("1 method; a family has 2 or more")
        estimate, by_site = two_way_of_pairs(np.stack([own.along(first.columns) for own in methods]), first.design)
        above = np.triu_indices(len(methods), 1)
        error = np.maximum(estimate.error, np.median(estimate.error[above]))
        of_sites = by_site[above].mean(0)  # the site whose subjects spread most counts most
        freedom = float(len(first.seeds) - 1)
        if (uncertainty := (of_sites**2 / (first.design.fewest - 1)).sum()) > 0:
            freedom = min(freedom, of_sites.sum() ** 2 / uncertainty)
        return cls(estimate.difference, error, max(1, int(freedom)))

    def decide(self, pairs: Sequence[Pair]) -> Decisions:
        """The decisions on some pairs of positions, all that are tested together; at least one."""
        one, other = np.array(pairs).T
        difference, error = self.difference[one, other], self.error[one, other]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(difference == 0, 0, np.abs(difference) / error)
        drawn = reference(len(self.difference), self.freedom, pairs)
        return Decisions(tuple(pairs), difference, drawn.critical * error, drawn.p(t))
