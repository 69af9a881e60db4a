"""How large the largest |t| of a family is where no two of its methods differ.

The t of a pair is its difference over its own standard error, but at least over the median standard error of all pairs of the
family's methods (family.py). Its distribution has no closed form, so it is drawn: DRAWS tables of K equal methods with normal
scores and as many degrees of freedom as the scarcer source of a standard error has, seeds or subjects.

A median helps the methods that spread least and hurts those that spread most. So tables are drawn under each of DESIGNS, in which
some methods spread up to three times as much as others, and what counts is the design in which large |t| are most frequent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..scores import Floats

LEVEL = 0.05  # the family-wise error
DRAWS = 3_999  # of each design; a p value of 5 % has a Monte-Carlo error of 0.34 points
THREEFOLD = 3.0  # how much more the methods that spread most do than those that spread least
CHUNK = 1_000_000  # standard errors that are in memory at a time

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


def reference(methods: int, freedom: int, pairs: Sequence[Pair]) -> Reference:
    """The distribution for the pairs that a family of methods tests, the same at every call."""
    order = [method for method, _ in Counter(method for pair in pairs for method in pair).most_common()]
    place = {method: number for number, method in enumerate(order)}  # those in most pairs come first
    placed = [(place[one], place[other]) for one, other in pairs]
    return _drawn(methods, freedom, tuple(sorted({(min(pair), max(pair)) for pair in placed})))


@lru_cache(maxsize=128)
def _drawn(methods: int, freedom: int, pairs: tuple[Pair, ...]) -> Reference:
    rng = np.random.default_rng([methods, freedom])
    above, below = np.triu_indices(methods, 1)
    one, other = np.array(pairs).T
    size = max(1, CHUNK // len(above))
    largest: list[list[Floats]] = []
    for start in range(0, DRAWS, size):
        count = min(size, DRAWS - start)
        means = rng.normal(size=(count, methods))
        noise = rng.normal(size=(count, methods, freedom)) / np.sqrt(freedom)
        products = noise @ noise.swapaxes(1, 2)
        parts = []
        for spread in _designs(rng, count, methods):
            scaled = products * (spread[:, :, None] * spread[:, None, :])
            own = np.einsum("nii->ni", scaled)
            variances = own[:, above] + own[:, below] - 2 * scaled[:, above, below]
            median = np.median(variances, axis=1, keepdims=True)
            variances = own[:, one] + own[:, other] - 2 * scaled[:, one, other]
            differences = spread * means
            t = np.abs(differences[:, one] - differences[:, other]) / np.sqrt(np.maximum(variances, median))
            parts.append(t.max(1))
        largest.append(parts)
    return Reference(np.sort([np.concatenate(own) for own in zip(*largest, strict=True)], axis=1))


def _designs(rng: np.random.Generator, count: int, methods: int) -> list[Floats]:
    """[count, methods] for each design, how much each method spreads: all the same; the first, the first two, or half of them
    three times as much as the others; or anything between a third and three times as much."""
    first = [np.where(np.arange(methods) < number, THREEFOLD, 1.0) for number in (0, 1, 2, methods // 2)]
    return [np.tile(own, (count, 1)) for own in first] + [THREEFOLD ** rng.uniform(-1, 1, (count, methods))]
