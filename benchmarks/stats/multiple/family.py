"""The methods of a table, and the differences of theirs that are tested together: a family, with a family-wise error of 5 %.

A pair's difference and standard error are those of `stats/compare.py`. With five seeds a standard error has four degrees of
freedom, and among many pairs some come out far too small by chance: that is where the largest t lies. So a pair's variance
counts as at least half of the median of all pairs of the family's methods, and the largest |t| of the family is referred to what
it is among equal methods (reference.py). The p value of a pair is how often a table of equal methods has, anywhere in the family,
so large a |t|; its interval holds together with all others of the family, and excludes 0 where p is below 5 %.

What this is worth was measured (docs/statistics.md): Holm's correction of p values with Satterthwaite's degrees of freedom does
not hold the family's 5 %, and with the degrees of freedom of the seeds it does in all cells but one (5.1 %), and sees little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log

import numpy as np

from ..compare import FEW_SEEDS, require_estimable, two_way_of_pairs
from ..scores import Design, Floats, Scores, StatsError
from .reference import FLOOR, Pair, reference

FINE, STEP = 10, 1.2  # degrees of freedom below FINE are whole numbers, from there they grow in steps


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
    error: Floats  # [K, K], floored
    freedom: int  # of the median standard error

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
        values = np.stack([own.along(first.columns) for own in methods])
        difference, error, freedom = floored(values, first.design)
        return cls(difference, error, rounded(float(freedom)))

    def decide(self, pairs: Sequence[Pair]) -> Decisions:
        """The decisions on some pairs of positions, all that are tested together; at least one."""
        one, other = np.array(pairs).T
        difference, error = self.difference[one, other], self.error[one, other]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(difference == 0, 0, np.abs(difference) / error)
        drawn = reference(len(self.difference), self.freedom, tuple(pairs))
        return Decisions(tuple(pairs), difference, drawn.critical * error, drawn.p(t))


def rounded(freedom: float) -> int:
    """Degrees of freedom, less than one in five of them lost, so that tables share what was drawn (reference.py)."""
    return int(freedom) if freedom < FINE else int(FINE * STEP ** floor(log(freedom / FINE, STEP)))


def floored(values: Floats, design: Design) -> tuple[Floats, Floats, Floats]:
    """Differences and standard errors [..., K, K] and degrees of freedom [...] from the scores [..., K, seeds, M] of K methods.

    Degrees of freedom come from what seeds and subjects contribute to the variance, in the mean over all pairs, so that no pair
    has many because its own spread came out small. Those of the subjects, over sites, are Satterthwaite's; those of seeds and
    subjects are their harmonic mean, weighted by what they contribute: less than Satterthwaite's, because methods differ in it.
    """
    estimate, of_seeds, of_subjects = two_way_of_pairs(values, design)
    above = (..., *np.triu_indices(values.shape[-3], 1))
    least = FLOOR * np.median(estimate.error[above] ** 2, axis=-1)
    error = np.maximum(estimate.error, np.sqrt(least)[..., None, None])
    seeds = of_seeds[above].mean(-1)
    sites = np.stack([of_subjects[..., site][above].mean(-1) for site in range(len(design.sites))], -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_freedom = seeds / (values.shape[-2] - 1) + (sites**2 / (design.fewest - 1)).sum(-1) / sites.sum(-1)
        freedom = (seeds + sites.sum(-1)) / np.where(np.isnan(per_freedom), seeds / (values.shape[-2] - 1), per_freedom)
    return estimate.difference, error, np.maximum(np.nan_to_num(freedom, nan=1.0), 1.0)
