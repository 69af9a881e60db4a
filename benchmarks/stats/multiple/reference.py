"""How large the largest |t| of a family is where no two of its methods differ.

The t of a pair is its difference over its standard error, whose square has a floor (floor.py). The largest has a distribution
without a closed form, so it is drawn: DRAWS tables of K equal methods with normal scores and as many degrees of freedom as the
family's standard errors have.

The floor is too low for the methods that spread most. So tables are drawn under five designs, in four of which some methods
spread up to three times as much as others, and what counts is the design in which large |t| are most frequent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..compare import sums_of_squares
from ..scores import Floats
from .floor import floored

LEVEL = 0.05  # the family-wise error
DRAWS = 3_999  # of each design; a p value of 5 % has a Monte-Carlo error of 0.34 points
THREEFOLD = 3.0  # how much more the methods that spread most do than those that spread least
CHUNK = 50_000  # standard errors that are in memory at a time

Pair = tuple[int, int]  # positions of two methods


@dataclass(frozen=True, eq=False)
class Reference:
    """`largest` [designs, DRAWS], the largest |t| of each drawn table, ascending."""

    largest: Floats

    def p(self, t: Floats) -> Floats:
        """The share of drawn tables whose largest |t| is at least |t|, by the design where it is largest."""
        beyond = [DRAWS - np.searchsorted(own, np.abs(t), side="left") for own in self.largest]
        return (1 + np.max(beyond, axis=0)) / (1 + DRAWS)

    @property
    def critical(self) -> float:
        """The |t| above which p is below LEVEL."""
        beyond = int(np.ceil(LEVEL * (1 + DRAWS))) - 1  # of so many draws, p is LEVEL or just above
        return float(self.largest[:, DRAWS - beyond].max())


@lru_cache(maxsize=1_000)
def reference(methods: int, freedom: int, pairs: tuple[Pair, ...]) -> Reference:
    """The distribution for the pairs that a family of methods tests, the same at every call."""
    order = [method for method, _ in Counter(method for pair in pairs for method in pair).most_common()]
    place = {method: number for number, method in enumerate(order)}  # those in most pairs come first
    placed = [(place[one], place[other]) for one, other in pairs]
    return _drawn(methods, freedom, tuple(sorted({(min(pair), max(pair)) for pair in placed})))


@lru_cache(maxsize=128)
def _drawn(methods: int, freedom: int, pairs: tuple[Pair, ...]) -> Reference:
    number = np.zeros((methods, methods), dtype=np.intp)
    number[np.triu_indices(methods, 1)] = np.arange(methods * (methods - 1) // 2)
    largest = _tables(methods, freedom).take(number[tuple(np.array(pairs).T)], axis=1).max(1)
    return Reference(np.sort(largest.astype(np.float64).reshape(-1, DRAWS), axis=1))


@lru_cache(maxsize=2)  # a table asks for its gains, then for all pairs
def _tables(methods: int, freedom: int) -> NDArray[np.float32]:
    """|t| of all pairs in DRAWS tables of each design, [designs * DRAWS, pairs]."""
    rng = np.random.default_rng([methods, freedom])
    one, other = np.triu_indices(methods, 1)
    means = rng.normal(size=(DRAWS, methods))
    noise = rng.normal(size=(DRAWS, methods, freedom)) / np.sqrt(freedom)
    spread = np.concatenate(_designs(rng, methods))
    found = np.empty((len(spread), len(one)), dtype=np.float32)
    size = max(1, CHUNK // len(one))
    for start in range(0, len(spread), size):
        own, at = spread[start : start + size], np.arange(start, min(start + size, len(spread))) % DRAWS
        scores = own * means[at]
        variances = floored(sums_of_squares(own[:, :, None] * noise[at]))
        found[start : start + size] = np.abs(scores[:, one] - scores[:, other]) / np.sqrt(variances[:, one, other])
    return found


def _designs(rng: np.random.Generator, methods: int) -> list[Floats]:
    """[DRAWS, methods] for each design, how much each method spreads: all the same; the first, the first two, or half of them
    three times as much as the others; or anything between a third and three times as much."""
    first = [np.where(np.arange(methods) < number, THREEFOLD, 1.0) for number in (0, 1, 2, methods // 2)]
    return [np.tile(own, (DRAWS, 1)) for own in first] + [THREEFOLD ** rng.uniform(-1, 1, (DRAWS, methods))]
