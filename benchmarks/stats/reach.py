"""What a score costs: rounds and bytes until validation reaches it, and the quality that a budget of bytes buys.

Of the validation curve, as a table's round is selected on it: its score at a round is the mean over site-tasks of the
validation PSNR in dB, and its bytes are those of all sites, up and down, since the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import fsum, isnan
from operator import add, mul

import numpy as np

from .scores import Floats, StatsError

NUMBERS = ("round", "val_psnr", "bytes_up", "bytes_down")  # the columns of a curve that are looked at here


@dataclass(frozen=True, eq=False)
class Curve:
    """A run's validated rounds, ascending; each [rounds]."""

    rounds: Floats
    psnr: Floats  # dB
    traffic: Floats  # bytes since the start, of all sites, up and down

    @classmethod
    def of(
        cls, sites: Sequence[str], numbers: Mapping[str, Sequence[float]], tasks: Mapping[str, Sequence[str]]
    ) -> Curve:
        """From the columns of `curve.csv`, `site` and NUMBERS, and the tasks of each site (of a run's scenario).

        A row of a group, as `pooled` trains, is named a+b. Raises StatsError where a round was validated at some of the
        sites only, as with participation below 1: its mean would be of other sites than the next round's.
        """
        rounds, psnr, up, down = (numbers[name] for name in NUMBERS)
        sent, by_round = list(map(add, up, down)), lines_of(tuple(rounds))
        weights: dict[tuple[str, ...], list[int]] = {}
        found, traffic = [], 0.0
        for number, lines in by_round:
            traffic += sum([sent[line] for line in lines])
            values = [psnr[line] for line in lines]
            if all(map(isnan, values)):
                continue
            names = tuple([sites[line] for line in lines])
            if names not in weights:
                members = [name.split("+") for name in names]
                if absent := tasks.keys() - chain(*members):
                    raise StatsError(
                        f"round {number:.0f} was not validated at {min(absent)}; train with participation=1"
                    )
                weights[names] = [sum(len(tasks.get(site, ())) for site in own) for own in members]
            found.append((number, fsum(map(mul, weights[names], values)) / sum(weights[names]), traffic))
        if not found:
            raise StatsError(f"{len(by_round)} rounds, none of them validated; give the curve of a finished run")
        return cls(*map(np.array, zip(*found, strict=True)))


@lru_cache(maxsize=64)
def lines_of(rounds: tuple[float, ...]) -> list[tuple[float, list[int]]]:
    """The lines of each round, ascending; most runs of a table have the same."""
    found: dict[float, list[int]] = {}
    for line, number in enumerate(rounds):
        found.setdefault(number, []).append(line)
    return sorted(found.items())


@dataclass(frozen=True)
class Reached:
    """The first validated round with a score, and the bytes until then; nan, nan where the run never reaches it."""

    round: float
    traffic: float


def reach(curve: Curve, psnr: float) -> Reached:
    """When the curve first reaches `psnr` (dB)."""
    there = curve.psnr >= psnr
    if not there.any():
        return Reached(np.nan, np.nan)
    first = int(np.argmax(there))
    return Reached(float(curve.rounds[first]), float(curve.traffic[first]))


def at_traffic(curve: Curve, budget: float) -> float:
    """The best validation PSNR (dB) of the rounds that `budget` bytes pay for; nan where they pay for no validated one."""
    paid = curve.psnr[curve.traffic <= budget]
    return float(paid.max()) if paid.size else np.nan


def equal_traffic(curves: Mapping[str, Curve]) -> dict[str, float]:
    """Each method's PSNR (dB) at equal bytes: the total of that which sends the least, of those that send anything."""
    totals = [float(curve.traffic[-1]) for curve in curves.values()]
    budget = min((total for total in totals if total > 0), default=0.0)
    return {name: at_traffic(curve, budget) for name, curve in curves.items()}
