"""Letters for the methods of a family: those that share one are not shown to differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_lowercase, ascii_uppercase

import numpy as np

from ..scores import Floats, StatsError
from .reference import LEVEL


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
