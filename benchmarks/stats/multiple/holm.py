"""Holm's step-down correction of p values (Holm 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scores import Floats, StatsError


def holm(p: Sequence[float] | Floats) -> Floats:
    """Adjusted p values, in the order given. Calling all those below a level significant has at most that family-wise error,
    if the p values hold in their tail: those with Satterthwaite's degrees of freedom do not (docs/statistics.md).

    Raises StatsError for a value outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if wrong := [value for value in values if not 0 <= value <= 1]:
        raise StatsError(f"a p value is {wrong[0]}; it must lie in [0, 1]")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
