"""What a score costs: rounds and bytes until validation reaches it, and the quality that a budget of bytes buys.

Of the validation curve, as a table's round is selected on it: its score at a round is the mean over site-tasks of the
validation PSNR in dB, and its bytes are those of all sites, up and down, since the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        by_round: dict[float, list[tuple[str, float, float]]] = {}
        rounds, psnr, up, down = (numbers[name] for name in NUMBERS)
        for number, *row in zip(rounds, sites, psnr, map(add, up, down), strict=True):
            by_round.setdefault(number, []).append(row)
        members = {name: name.split("+") for name in set(sites)}
        weights = {name: sum(len(tasks.get(site, ())) for site in own) for name, own in members.items()}
        found, traffic = [], 0.0
        for number, own in sorted(by_round.items()):
            names, values, sent = zip(*own, strict=True)
            traffic += sum(sent)
            if all(map(isnan, values)):
                continue
            if absent := tasks.keys() - chain(*(members[name] for name in names)):
                raise StatsError(f"round {number:.0f} was not validated at {min(absent)}; train with participation=1")
            weighed = [weights[name] for name in names]
            found.append((number, fsum(map(mul, weighed, values)) / sum(weighed), traffic))
        if not found:
            raise StatsError(f"{len(by_round)} rounds, none of them validated; give the curve of a finished run")
        return cls(*map(np.array, zip(*found, strict=True)))


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
