"""Scores of a few seeds and subjects, for tests of the statistics."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from fedsynth.benchmarks.stats.scores import Key, Scores


def one_site(values: Any) -> Scores:
    matrix = np.asarray(values, dtype=float)
    columns = tuple(("a", "x", f"{subject:02}") for subject in range(matrix.shape[1]))
    return Scores(tuple(range(len(matrix))), columns, matrix)


def random(rng: np.random.Generator, seeds: int = 6) -> Scores:
    """Sites of 4, 3 and 5 subjects. Two sites have two tasks, and one subject lacks one of these."""
    columns: list[Key] = []
    for site, tasks, count in (("a", "xy", 4), ("b", "x", 3), ("c", "xz", 5)):
        columns += [(site, task, f"{number}") for task, number in product(tasks, range(count))]
    columns.remove(("c", "z", "2"))
    shape = (seeds, len(columns))
    return Scores(tuple(range(seeds)), tuple(columns), rng.normal(0.5, 1, shape) + rng.normal(size=(seeds, 1)))
