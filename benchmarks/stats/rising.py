"""Was a run stopped by its budget? So if its validation score still rose at its end."""

from __future__ import annotations

import numpy as np

from .reach import Curve

SHARE = 0.25  # of the rounds, the last ones
LIMITED = 0.1  # dB: half of the difference that is held not to matter


def rising(curve: Curve) -> float | None:
    """What validation PSNR gained over the last quarter of the rounds, in dB: the slope of the least-squares line through its
    validated rounds, times their number of rounds. None where fewer than 3 of them were validated."""
    span = SHARE * curve.rounds[-1]
    last = curve.rounds > curve.rounds[-1] - span
    if last.sum() < 3:
        return None
    return float(np.polyfit(curve.rounds[last] - curve.rounds[-1], curve.psnr[last], 1)[0] * span)
