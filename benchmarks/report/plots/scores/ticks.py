"""Ticks where the data are."""

from __future__ import annotations

import math
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator


def ticks_at(values: Iterable[float], most: int = 8) -> list[float]:
    """Some of the values, at most `most`: all if they are few, else those at round numbers, else
    every second, third or so, counted from the last."""
    known = sorted(set(values))
    if len(known) <= most:
        return known
    round_numbers = set(MaxNLocator(most - 1, steps=[1, 2, 5, 10], integer=True).tick_values(known[0], known[-1]))
    if len(found := [value for value in known if value in round_numbers]) >= most // 2:
        return found
    return known[:: -math.ceil(len(known) / most)][::-1]


def set_ticks(axes: Axes, values: Iterable[float]) -> None:
    """Ticks of the horizontal axis at `ticks_at(values)` and nowhere else."""
    axes.xaxis.set_major_locator(FixedLocator(ticks_at(values)))
    axes.xaxis.set_minor_locator(NullLocator())
