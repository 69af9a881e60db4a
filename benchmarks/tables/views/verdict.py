"""What is said of two rows, in one sentence: for `fedsynth compare`, headlines and pages."""

from __future__ import annotations

from ...stats.compare import FEW_SEEDS
from ..metric import Metric
from ..statistics import Decision


def verdict(a: str, b: str, decision: Decision, metric: Metric) -> str:
    """Whether A is shown to be better than B, as the table's family decides; the interval is the family's.

    Where no family decides, with few seeds or an ablation, neither is called better.
    """
    result, unit = decision.comparison, metric.unit
    if result.few_seeds:
        noun = "seed is" if result.seeds == 1 else "seeds are"
        return (
            f"{result.seeds} {noun} too few to call {a} or {b} better; the difference so far is "
            f"{metric.signed(result.difference)}{unit}, and {FEW_SEEDS} seeds are needed."
        )
    if decision.low is None or decision.high is None:
        return (
            f"exploratory, so neither {a} nor {b} is called better: the difference is {metric.signed(result.difference)}{unit}, "
            f"95 % interval {metric.between(result.low, result.high)}."
        )
    if decision.significant:
        winner, loser = (a, b) if result.difference > 0 else (b, a)
        low, high = sorted((abs(decision.low), abs(decision.high)))
        size = f"{metric.spread(abs(result.difference))}{unit} ({metric.spread(low)} to {metric.spread(high)})"
        return f"{winner} is better than {loser} by {size}."
    return (
        f"neither {a} nor {b} is shown to be better: the difference is {metric.signed(result.difference)}{unit} and may be "
        f"anything from {metric.between(decision.low, decision.high)}{unit}."
    )
