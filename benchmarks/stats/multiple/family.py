"""The methods of a table, and the differences of theirs that are tested together: a family, with a family-wise error of 5 %.

A pair's difference and variance are those of `stats/compare.py`. The variance has a floor, which other pairs tell (floor.py), and
the largest |t| of the family is referred to what it is among equal methods (reference.py). The p value of a pair is how often a
table of equal methods has, anywhere in the family, so large a |t|; its interval holds together with all others of the family, and
excludes 0 where p is below 5 %.

What this is worth was measured, beside Holm's correction of single p values (docs/statistics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from ..compare import FEW_SEEDS, require_estimable, two_way_of_pairs
from ..scores import Design, Floats, Scores, StatsError
from .floor import floored
from .reference import Pair, reference

FINE, STEP = 10, 1.2  # degrees of freedom from FINE grow in steps of STEP


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
    freedom: int

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
        difference, error, freedom = estimated(values, first.design)
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
    """The nearest whole number, from FINE the nearest step of a fifth, so that tables share what was drawn (reference.py)."""
    return round(freedom) if freedom < FINE - 0.5 else round(FINE * STEP ** round(log(freedom / FINE, STEP)))


def estimated(values: Floats, design: Design) -> tuple[Floats, Floats, Floats]:
    """Differences and standard errors [..., K, K] and degrees of freedom [...] from the scores [..., K, seeds, M] of K methods.

    Degrees of freedom come from what seeds and subjects contribute to the variance, in the mean over all pairs, so that no pair
    has many because its own spread came out small. Were the share of seeds the same in every pair, they would be Satterthwaite's;
    did every pair spread by seeds alone or by subjects alone, their weighted harmonic mean. It is the geometric mean of both.
    """
    estimate, of_seeds, of_subjects = two_way_of_pairs(values, design)
    above = (..., *np.triu_indices(values.shape[-3], 1))
    seeds = of_seeds[above].mean(-1)
    sites = np.stack([of_subjects[..., site][above].mean(-1) for site in range(len(design.sites))], -1)
    subjects, squares = sites.sum(-1), (sites**2 / (design.fewest - 1)).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = (seeds + subjects) ** 2 / (seeds**2 / (values.shape[-2] - 1) + squares)
        apart = (seeds + subjects) / (seeds / (values.shape[-2] - 1) + np.nan_to_num(squares / subjects))
    freedom = np.maximum(np.nan_to_num(np.sqrt(alike * apart), nan=1.0), 1.0)
    return estimate.difference, np.sqrt(floored(estimate.error**2)), freedom
