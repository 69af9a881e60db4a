"""What is counted over runs and site-tasks: performance profiles and probabilities of improvement. They test nothing.

- `profiles` (Dolan and More 2002): how often is a method within tau of the best? The paper's ratio to the best time becomes a
  distance to the best score here, because PSNR in dB is a logarithm already.
- `share_above` (the score distributions of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
  Precipice"): in which share of runs and site-tasks is a method's score above tau?
- `improvement` (the same paper's probability of improvement): how probable is it that a run of one method is better at a
  site-task than a run of another?

Agarwal et al. draw the intervals of the last two from a bootstrap over the seeds of each task by itself, since theirs are trained
apart. Here the site-tasks of a seed share their models, so a seed counts as one observation, and because a bootstrap over five of
them is too narrow, an interval is that of t on the scale of log odds: for `share_above` with the spread of the seeds' shares, for
`improvement` with that of the seeds of both methods (Sen 1960), each seed's share of wins, and Welch's degrees of freedom. Where
every pair of seeds has the same winner, the interval is that of Clopper and Pearson for as many wins as there are seeds.

How often they cover, in percent, where half of the variance of a score at eight site-tasks is of its seed (`pytest
tests/benchmarks/stats/test_profiles.py -m long -s`, 2,000 tables a cell, Monte-Carlo error 0.5 points at 95 %):

    seeds   improvement of 0.50   0.76   0.92   share of 0.16   0.31   0.50
        5                  97.4   96.8   98.0            95.0   96.6   97.4
       10                  96.7   95.0   94.7            95.4   96.2   97.3

A share near 0 or 1 covers less: where no seed has such a score, its interval has no width.
"""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from .scores import Floats, StatsError

Interval = tuple[Floats, Floats, Floats]  # a share, and the low and the high end of its 95 % interval


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


def share_above(runs: Floats, taus: Floats) -> Interval:
    """[taus]: the share of the scores [seeds, site-tasks], higher is better, that are above tau.

    Where the share is 0 or 1 the interval has no width. Raises StatsError for one seed.
    """
    _require_seeds(runs)
    shares = (runs[..., None] > taus).mean(1)  # [seeds, taus]
    share = shares.mean(0)
    return share, *_on_log_odds(share, shares.var(0, ddof=1) / len(runs), np.full(len(taus), len(runs) - 1.0))


def improvement(ours: Floats, theirs: Floats) -> Interval:
    """The probability that a run of ours is above a run of theirs, the mean over site-tasks; a tie counts one half.

    From scores [seeds, site-tasks], higher is better; the two may have different numbers of seeds. For a site-task it is the
    statistic of Mann and Whitney divided by the number of pairs. Raises StatsError for one seed.
    """
    _require_seeds(ours, theirs)
    one, other = ours[:, None, :], theirs[None, :, :]
    wins = ((one > other) + 0.5 * (one == other)).mean(-1)  # [seeds of ours, of theirs]
    share = np.asarray(wins.mean())
    if share in (0, 1):
        least = np.asarray(0.025 ** (1 / min(wins.shape)))  # Clopper and Pearson, all won
        return (share, share, 1 - least) if share == 0 else (share, least, share)
    one_error, other_error = wins.mean(1).var(ddof=1) / len(ours), wins.mean(0).var(ddof=1) / len(theirs)
    weights = one_error**2 / (len(ours) - 1) + other_error**2 / (len(theirs) - 1)
    error = np.asarray(one_error + other_error)
    return share, *_on_log_odds(share, error, error**2 / weights if weights > 0 else np.ones(()))


def _on_log_odds(share: Floats, variance: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval of a share, taken on the scale of log odds, so that it stays within 0 and 1."""
    odds_slope = share * (1 - share)
    margin = stats.t.ppf(0.975, freedom) * np.sqrt(variance) / np.where(odds_slope > 0, odds_slope, 1)
    middle = logit(share)
    return expit(middle - margin), expit(middle + margin)


def _require_seeds(*methods: Floats) -> None:
    """Raises StatsError where the spread over seeds is unknown."""
    for runs in methods:
        if runs.ndim != 2 or len(runs) < 2 or not runs.size:
            raise StatsError(f"scores of shape {runs.shape}; give 2 or more seeds, and a column for each site-task")
