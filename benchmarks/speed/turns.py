"""Rivals timed in turns with ours, so that what else the machine does meets all alike: ratios count, with their intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.stats import bootstrap

Way = Callable[[], object]
REPEATS = 30


def seconds(way: Way) -> float:
    """What one call costs: the process's own time on a CPU, where others may be at work; on a GPU the time until it is done."""
    if not torch.cuda.is_available():
        started = time.process_time()
        way()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def ratio(ours: list[float], theirs: list[float]) -> list[float]:
    """The median of the paired ratios ours / theirs, and the ends of its 95 % interval (percentile bootstrap)."""
    paired = np.divide(ours, theirs)
    interval = bootstrap((paired,), np.median, method="percentile", rng=0).confidence_interval
    return [float(np.median(paired)), float(interval.low), float(interval.high)]


def in_turns(
    benchmark: BenchmarkFixture, ours: Way, rivals: Mapping[str, Way], repeats: int = REPEATS
) -> dict[str, list[float]]:
    """Time ours by pytest-benchmark, before each repeat every rival; keep the ratios in the benchmark's `extra_info`. Returns all
    seconds, ours under "ours"."""
    spent: dict[str, list[float]] = {name: [] for name in ("ours", *rivals)}

    def theirs() -> None:
        for name, way in rivals.items():
            spent[name].append(seconds(way))

    for way in (ours, *rivals.values()):
        way()  # warm
    benchmark.pedantic(lambda: spent["ours"].append(seconds(ours)), setup=theirs, rounds=repeats)
    if benchmark.disabled:  # one call each: nothing to compare
        return spent
    benchmark.extra_info["median seconds"] = {name: float(np.median(values)) for name, values in spent.items()}
    benchmark.extra_info["ours over"] = {name: ratio(spent["ours"], spent[name]) for name in rivals}
    return spent
