"""What the rows of a table communicate to reach a score, and which score they reach with equally many bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean

from ...stats.validation_curve import at_traffic, reach
from ..table import Table, contenders


@dataclass(frozen=True)
class CommunicationCost:
    """Means over the seeds of a row; None where a seed has no value."""

    rounds: float | None  # until the score of `local` on the same network at its selected round
    megabytes: float | None  # that all sites send and receive until then
    # dB, the best within the bytes of the row that sends fewest, those that send none or images aside
    psnr: float | None


def communication_costs(table: Table) -> list[CommunicationCost]:
    """The costs of every row, in the table's order."""
    federated = [row for row in table.rows if not any(run.images_shipped for run in row.runs)]
    totals = [fmean(own) for row in federated if (own := [float(curve.traffic[-1]) for curve in row.curves])]
    budget = min((total for total in totals if total > 0), default=0.0)
    costs = []
    for row, contender in zip(table.rows, contenders(table.rows), strict=True):
        reached = []
        if contender.local is not None:
            goal = fmean(run.record.validation_psnr for run in table.rows[contender.local].runs)
            reached = [reach(curve, goal) for curve in row.curves]
        costs.append(
            CommunicationCost(
                rounds=mean_if_complete([own.round for own in reached]),
                megabytes=mean_if_complete([own.traffic / 1e6 for own in reached]),
                psnr=mean_if_complete([at_traffic(curve, budget) for curve in row.curves]) if budget else None,
            )
        )
    return costs


def mean_if_complete(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing (None or nan), or there is none."""
    known = [value for value in values if value is not None and not isnan(value)]
    return fmean(known) if values and len(known) == len(values) else None
