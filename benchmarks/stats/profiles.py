"""Performance profiles (Dolan and More 2002) for scores: how often is a method within tau of the best?

The paper's ratio to the best time becomes a distance to the best score here, because PSNR in dB is a logarithm already. A profile
counts and tests nothing, so its cells may be site-tasks of one federation.
"""

from __future__ import annotations

import numpy as np

from .scores import Floats, StatsError


def profiles(scores: Floats, taus: Floats) -> Floats:
    """[methods, taus]: the share of cells where a method is at most tau below the best, from scores [cells, methods].

    At tau = 0 it is the share of cells where the method is the best (ties count for each). A missing score (nan) is never
    near the best. Raises StatsError where a cell has no score at all, one is infinite, or tau is negative.
    """
    if scores.ndim != 2 or not scores.size:
        raise StatsError(f"scores of shape {scores.shape}; profiles need one row a cell and one column a method")
    if np.isnan(scores).all(1).any() or np.isinf(scores).any():
        cell = int(np.argmax(np.isnan(scores).all(1) | np.isinf(scores).any(1)))
        raise StatsError(f"cell {cell} has the scores {scores[cell]}; leave it out, it has no best method")
    if not (taus >= 0).all():
        raise StatsError(f"a distance to the best of {taus.min()}; give distances of 0 or more")
    behind = np.nanmax(scores, axis=1, keepdims=True) - scores
    return (behind[:, :, None] <= taus).mean(0)
