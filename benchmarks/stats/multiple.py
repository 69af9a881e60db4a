"""Many comparisons in one table: Holm's step-down correction (Holm 1979), and the methods that it does not tell apart."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import TypeVar

import numpy as np

from .compare import FEW_SEEDS, Comparison, require_estimable, two_way
from .scores import Floats, Scores, StatsError

LEVEL = 0.05  # the family-wise error
CHUNK = 2_000_000  # differences that are in memory at a time
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Decision:
    """A comparison and what is decided of it among all of its table. Few seeds decide nothing: then the two others are None."""

    comparison: Comparison
    adjusted: float | None  # Holm's p value
    significant: bool | None


def holm(p: Sequence[float] | Floats) -> Floats:
    """Adjusted p values, in the order given. Calling all those below a level significant has at most that family-wise error.

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
    """A decision on each comparison of a table, by Holm. Comparisons with few seeds have no p value and take no part."""
    tested = {key: comparison.p for key, comparison in comparisons.items() if comparison.p is not None}
    adjusted = dict(zip(tested, map(float, holm(list(tested.values()))), strict=True))
    return {
        key: Decision(comparison, adjusted.get(key), adjusted[key] < LEVEL if key in adjusted else None)
        for key, comparison in comparisons.items()
    }


def pairwise(methods: Sequence[Scores]) -> Floats:
    """[K, K], the p value of every pair of a table's K methods, corrected for all pairs (Holm); 1 on the diagonal.

    Raises StatsError for fewer than FEW_SEEDS seeds, methods on unequal seeds or data, and as `compare` does.
    """
    first = methods[0]
    for other in methods[1:]:
        first.minus(other)
    require_estimable(first)
    if len(first.seeds) < FEW_SEEDS:
        raise StatsError(f"{len(first.seeds)} seeds; below {FEW_SEEDS} no significance is drawn")
    values = np.stack([scores.along(first.columns) for scores in methods])
    above, below = np.triu_indices(len(methods), 1)
    chunk = max(1, CHUNK // values[0].size)
    starts = range(0, len(above), chunk)
    pairs = [values[above[start : start + chunk]] - values[below[start : start + chunk]] for start in starts]
    p = np.concatenate([np.empty(0), *(two_way(part, first.design).p for part in pairs)])
    found = np.ones((len(methods), len(methods)))
    found[above, below] = found[below, above] = holm(p)
    return found


def significance_letters(adjusted: Floats) -> list[str]:
    """The letters of K methods, given from best to worst. Two methods share a letter if and only if their difference is not
    significant (Piepho 2004), and the best has "a". `adjusted` [K, K] is what `pairwise` returns.

    Raises StatsError where there are more groups than letters.
    """
    count = len(adjusted)
    near = [set(np.flatnonzero(row >= LEVEL).tolist()) - {method} for method, row in enumerate(adjusted)]
    found = sorted(_cliques(near, (), set(range(count)), set()), key=sorted)
    letters = ascii_lowercase + ascii_uppercase
    if len(found) > len(letters):
        raise StatsError(f"{len(found)} groups of {count} methods, but {len(letters)} letters; compare fewer")
    return [
        "".join(letter for letter, group in zip(letters, found, strict=False) if method in group)
        for method in range(count)
    ]


def _cliques(
    near: Sequence[set[int]], chosen: tuple[int, ...], candidates: set[int], done: set[int]
) -> Iterator[tuple[int, ...]]:
    """Every set of methods that are all near each other and to which no other can be added (Bron and Kerbosch 1973, with a
    pivot). The sets contain `chosen`, some of the candidates and none of those that are done."""
    if not candidates:
        if not done:
            yield chosen
        return
    pivot = max(candidates | done, key=lambda method: len(near[method] & candidates))
    for method in sorted(candidates - near[pivot]):
        yield from _cliques(near, (*chosen, method), candidates & near[method], done & near[method])
        candidates, done = candidates - {method}, done | {method}
