"""What a table's rows need to reach what training alone reaches, and what they make of equal bytes. All of validation PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean

from .stats.reach import Curve, Reached, at_traffic, reach
from .table import Row, Table, contenders


@dataclass(frozen=True)
class Economy:
    """Means over seeds; None where a seed has none."""

    rounds: float | None  # until the score of `local` on the same network, at its selected round
    megabytes: float | None  # of all sites, up and down, until then
    psnr: float | None  # dB, the best for the bytes of that row which sends least, of those that send anything


def economy(table: Table) -> list[Economy]:
    """Of every row, in the table's order."""
    budgets = [fmean(own) for row in table.rows if (own := [float(curve.traffic[-1]) for curve in row.curves])]
    budget = min((total for total in budgets if total > 0), default=0.0)
    found = []
    for row, held in zip(table.rows, contenders(table.rows), strict=True):
        reached = [] if held.local is None else arrivals(row.curves, table.rows[held.local])
        found.append(
            Economy(
                rounds=mean([own.round for own in reached]),
                megabytes=mean([own.traffic / 1e6 for own in reached]),
                psnr=mean([at_traffic(curve, budget) for curve in row.curves]) if budget else None,
            )
        )
    return found


def arrivals(curves: Sequence[Curve], local: Row) -> list[Reached]:
    """When each seed reaches the validation score of `local`, mean over its seeds."""
    goal = fmean(run.record.validation_psnr for run in local.runs)
    return [reach(curve, goal) for curve in curves]


def mean(values: Sequence[float | None]) -> float | None:
    """None where a value is missing, or there is none."""
    known = [value for value in values if value is not None and not isnan(value)]
    return fmean(known) if values and len(known) == len(values) else None
