"""Was a run stopped by its budget? It was if its validation score still rose at its end."""

from __future__ import annotations

from .validation_curve import ValidationCurve

SHARE = 0.25  # of the rounds: the last quarter
LEAST = 3  # validated rounds that a line needs; where the last quarter has fewer, earlier ones are added
LIMITED = 0.1  # dB: half of the difference that does not matter (0.2 dB)


def rising(curve: ValidationCurve) -> float | None:
    """The gain in validation PSNR over the last quarter of the rounds, in dB: the slope of the least-squares line through its
    validated rounds, or through the last three where it has fewer, times a quarter of the rounds. None for fewer than three."""
    if len(curve.rounds) < LEAST:
        return None
    span = SHARE * curve.rounds[-1]
    last = (curve.rounds > curve.rounds[-1] - span) | (curve.rounds >= curve.rounds[-LEAST])
    apart = curve.rounds[last] - curve.rounds[last].mean()
    return float(apart @ curve.overall[last] / (apart @ apart) * span)
