"""How large the largest |t| of a family is where no two of its methods differ.

The t of a pair is its difference over its standard error, whose square counts as at least FLOOR times the median of all pairs of
the family's methods (family.py). Its distribution has no closed form, so it is drawn: DRAWS tables of K equal methods with normal
scores and as many degrees of freedom as the family's standard errors have.

The floor is too low for the methods that spread most. So tables are drawn under each of DESIGNS, in which
some methods spread up to three times as much as others, and what counts is the design in which large |t| are most frequent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..scores import Floats

LEVEL = 0.05  # the family-wise error
FLOOR = 0.5  # of the median variance: more sees more where methods spread alike, less where they do not
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
    tested = np.array(pairs).T
    largest = []
    for scaled, means, floor in _tables(methods, freedom):
        one, other = (means.take(side, axis=1) for side in tested)
        t = np.abs(one - other) / np.sqrt(np.maximum(_variances(scaled, *tested), floor))
        largest.append(t.max(1))
    return Reference(np.sort(np.concatenate(largest).reshape(-1, DRAWS), axis=1))


@lru_cache(maxsize=4)
def _tables(methods: int, freedom: int) -> list[tuple[Floats, Floats, Floats]]:
    """Parts of DRAWS tables of each design: deviations [tables, methods, freedom], means [tables, methods] and the floor."""
    rng = np.random.default_rng([methods, freedom])
    every = np.array(np.triu_indices(methods, 1))
    means = rng.normal(size=(DRAWS, methods))
    noise = rng.normal(size=(DRAWS, methods, freedom)) / np.sqrt(freedom)
    size = max(1, CHUNK // every.shape[1])
    parts = []
    for spread in _designs(rng, methods):
        for part in (slice(start, start + size) for start in range(0, DRAWS, size)):
            scaled = noise[part] * spread[part, :, None]
            floor = FLOOR * np.median(_variances(scaled, *every), axis=1, keepdims=True)
            parts.append((scaled, spread[part] * means[part], floor))
    return parts


def _variances(deviations: Floats, one: NDArray[np.intp], other: NDArray[np.intp]) -> Floats:
    """[tables, pairs], of differences; `take` is ten times as fast as an index."""
    products = deviations @ deviations.swapaxes(1, 2)
    own = np.einsum("nii->ni", products)
    both = products.reshape(len(products), -1).take(one * products.shape[1] + other, axis=1)
    return own.take(one, axis=1) + own.take(other, axis=1) - 2 * both


def _designs(rng: np.random.Generator, methods: int) -> list[Floats]:
    """[DRAWS, methods] for each design, how much each method spreads: all the same; the first, the first two, or half of them
    three times as much as the others; or anything between a third and three times as much."""
    first = [np.where(np.arange(methods) < number, THREEFOLD, 1.0) for number in (0, 1, 2, methods // 2)]
    return [np.tile(own, (DRAWS, 1)) for own in first] + [THREEFOLD ** rng.uniform(-1, 1, (DRAWS, methods))]
