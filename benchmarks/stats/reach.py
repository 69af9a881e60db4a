"""What a score costs: rounds and bytes until validation reaches it, and the quality that a budget of bytes buys.

Of the validation curve, as a table's round is selected on it: its score at a round is the mean over site-tasks of the
validation PSNR in dB, and its bytes are those of all sites, up and down, since the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isnan

import numpy as np

from ..records import Rows
from .scores import Floats, StatsError


@dataclass(frozen=True, eq=False)
class Curve:
    """A run's validated rounds, ascending; each [rounds]."""

    rounds: Floats
    psnr: Floats  # dB
    traffic: Floats  # bytes since the start, of all sites, up and down

    @classmethod
    def of(cls, rows: Rows, tasks: Mapping[str, Sequence[str]]) -> Curve:
        """From the rows of `curve.csv` and the tasks of each site (of a run's scenario).

        A row of a group, as `pooled` trains, is named a+b. Raises StatsError where a round was validated at some of the
        sites only, as with participation below 1: its mean would be of other sites than the next round's.
        """
        by_round: dict[float, Rows] = {}
        for row in rows:
            by_round.setdefault(row["round"], []).append(row)
        members = {row["site"]: row["site"].split("+") for row in rows}
        weights = {name: sum(len(tasks.get(site, ())) for site in own) for name, own in members.items()}
        found, traffic = [], 0.0
        for number, own in sorted(by_round.items()):
            traffic += sum(row["bytes_up"] + row["bytes_down"] for row in own)
            if all(isnan(row["val_psnr"]) for row in own):
                continue
            if absent := set(tasks).difference(*(members[row["site"]] for row in own)):
                raise StatsError(f"round {number:.0f} was not validated at {min(absent)}; train with participation=1")
            total = fsum(weights[row["site"]] * row["val_psnr"] for row in own)
            found.append((number, total / sum(weights[row["site"]] for row in own), traffic))
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
