"""Was a run stopped by its budget? So if its validation score still rose at its end."""

from __future__ import annotations

import numpy as np

from .validation_curve import ValidationCurve

SHARE = 0.25  # of the rounds, the last ones
LEAST = 3  # validated rounds, of which the last quarter may have fewer
LIMITED = 0.1  # dB: half of the difference that is held not to matter


def rising(curve: ValidationCurve) -> float | None:
    """What validation PSNR gained over the last quarter of the rounds, in dB: the slope of the least-squares line through its
    validated rounds, or through the last three there are, times a quarter of the rounds. None where fewer were validated."""
    if len(curve.rounds) < LEAST:
        return None
    span = SHARE * curve.rounds[-1]
    last = (curve.rounds > curve.rounds[-1] - span) | (curve.rounds >= curve.rounds[-LEAST])
    return float(np.polyfit(curve.rounds[last] - curve.rounds[-1], curve.overall[last], 1)[0] * span)
