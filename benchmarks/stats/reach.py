"""What a score costs: the rounds and bytes until validation reaches it, and the best score that a number of bytes buys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .validation_curve import ValidationCurve


@dataclass(frozen=True)
class Reached:
    """The first validated round with a score, and the bytes until then; nan, nan where the run never reaches it."""

    round: float
    traffic: float


def reach(curve: ValidationCurve, psnr: float) -> Reached:
    """When the curve first reaches `psnr` (dB)."""
    there = curve.overall >= psnr
    if not there.any():
        return Reached(np.nan, np.nan)
    first = int(np.argmax(there))
    return Reached(float(curve.rounds[first]), float(curve.traffic[first]))


def at_traffic(curve: ValidationCurve, budget: float) -> float:
    """The best validation PSNR (dB) of the rounds that `budget` bytes pay for; nan where they pay for no validated round."""
    paid = curve.overall[curve.traffic <= budget]
    return float(paid.max()) if paid.size else np.nan
