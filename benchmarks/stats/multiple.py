"""Many comparisons in one table: Holm's step-down correction (Holm 1979), and which methods it does not tell apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase, ascii_uppercase
from typing import TypeVar

import numpy as np

from .compare import FEW_SEEDS, Comparison, compare
from .scores import Floats, Scores, StatsError

LEVEL = 0.05  # of the family-wise error
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Decision:
    """A comparison as one of its table's: None, None where few seeds draw no significance."""

    comparison: Comparison
    adjusted: float | None  # Holm's p value
    significant: bool | None


def holm(p: Sequence[float]) -> Floats:
    """Adjusted p values, in the order given: the family-wise error of all comparisons below a level is at most that level.

    Raises StatsError for a value outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if wrong := [value for value in values if not 0 <= value <= 1]:
        raise StatsError(f"a p value is {wrong[0]}; it must lie in [0, 1]")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def decide(comparisons: Mapping[Key, Comparison]) -> dict[Key, Decision]:
    """Holm over all comparisons of a table; those with few seeds have no p value and take no part."""
    tested = {key: comparison.p for key, comparison in comparisons.items() if comparison.p is not None}
    adjusted = dict(zip(tested, map(float, holm(list(tested.values()))), strict=True))
    return {
        key: Decision(comparison, adjusted.get(key), adjusted[key] < LEVEL if key in adjusted else None)
        for key, comparison in comparisons.items()
    }


def pairwise(methods: Mapping[str, Scores]) -> dict[tuple[str, str], Decision]:
    """Every pair (a, b) of a table's methods in their order, as a minus b, decided together."""
    return decide({(a, b): compare(methods[a].minus(methods[b])) for a, b in combinations(methods, 2)})


def groups(methods: Sequence[str], decisions: Mapping[tuple[str, str], Decision]) -> dict[str, str]:
    """Letters: two methods share one if and only if their difference is not significant (Piepho 2004, insert and absorb).

    `methods` from best to worst, so that "a" is of the best; `decisions` of each pair, in either order. Raises StatsError
    for a pair that is missing or drew no significance.
    """
    found: list[set[str]] = [set(methods)]
    for pair in combinations(methods, 2):
        decision = decisions.get(pair) or decisions.get(pair[::-1])
        if decision is None or decision.significant is None:
            reason = f"fewer than {FEW_SEEDS} seeds" if decision else "not compared"
            raise StatsError(f"{pair[0]} and {pair[1]}: {reason}, so no groups; compare all pairs on {FEW_SEEDS} seeds")
        if decision.significant:
            split = [group - {one} for group in found if set(pair) <= group for one in pair]
            found = [group for group in found if not set(pair) <= group]
            for group in sorted(split, key=len, reverse=True):
                if not any(group <= other for other in found):
                    found.append(group)
    found.sort(key=lambda group: sorted(map(methods.index, group)))
    letters = ascii_lowercase + ascii_uppercase
    if len(found) > len(letters):
        raise StatsError(f"{len(found)} groups of {len(methods)} methods, but {len(letters)} letters; compare fewer")
    return {
        method: "".join(letter for letter, group in zip(letters, found, strict=False) if method in group)
        for method in methods
    }
