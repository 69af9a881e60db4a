"""Are two methods the same for practical purposes? Two one-sided tests (Schuirmann 1987) on the model of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from .compare import Comparison, upper_tail
from .scores import StatsError


@dataclass(frozen=True)
class Equivalence:
    """Whether the difference lies within +-`bound`. It does if the 90 % interval does, which is the same as p < 0.05."""

    bound: float  # in the metric's unit, e.g. dB
    low: float  # of the 90 % interval
    high: float
    p: float | None  # the larger of the two one-sided p values; None for few seeds
    equivalent: bool | None  # at 5 %; None for few seeds


def equivalence(comparison: Comparison, bound: float) -> Equivalence:
    """The tests of "below -bound" and "above bound". Raises StatsError for a bound that is not above 0."""
    if not bound > 0:
        raise StatsError(
            f"the bound of equivalence is {bound}; give the largest difference that does not matter, above 0"
        )
    difference, error, freedom = comparison.difference, comparison.error, comparison.freedom
    margin = error * float(stats.t.ppf(0.95, freedom))
    p = max(upper_tail(bound + difference, error, freedom), upper_tail(bound - difference, error, freedom))
    few = comparison.few_seeds
    return Equivalence(bound, difference - margin, difference + margin, None if few else p, None if few else p < 0.05)
