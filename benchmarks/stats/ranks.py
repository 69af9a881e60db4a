"""Mean ranks of methods over independent blocks, Friedman's test that all are equal, and Nemenyi's critical difference.

A block is a scenario on a data set. The sites of one federation are *not* blocks: they share models, so their ranks move
together and would count one observation several times. Blocks of one data set share its subjects: they stand for a
population of scenarios, not of data.

The false positives of both tests at 5 %, and the coverage of the 95 % interval of a mean rank over blocks, were measured on
normal scores (`pytest tests/benchmarks/stats/test_ranks.py -m long -s`, 10,000 tables a cell, Monte-Carlo error 0.25 points):

    methods  blocks  Friedman  Nemenyi   t interval  percentile bootstrap
          3       4     6.8 %    4.2 %         80 %                  77 %
                  5     4.2 %    4.2 %         85 %                  82 %
                 10     4.3 %    4.3 %         95 %                  85 %
                 20     5.2 %    5.3 %         95 %                  91 %
         10       4     2.8 %    1.9 %         92 %                  78 %
                  5     3.0 %    2.3 %         92 %                  83 %
                 10     4.1 %    4.6 %         94 %                  89 %
                 20     4.5 %    4.7 %         94 %                  92 %

So fewer than 5 blocks are refused, and the interval is the t interval over blocks, although it is too narrow for 5 blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .scores import Floats, StatsError

BLOCKS, METHODS = 5, 3

Block = tuple[str, str]  # scenario, data set


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks of K methods over N blocks. Rank 1 is the best, and ties share the mean of their ranks."""

    mean: Floats  # [K]
    low: Floats  # [K], the 95 % t interval over blocks, within [1, K]
    high: Floats
    statistic: float  # Friedman's chi-squared, corrected for ties, K - 1 degrees of freedom
    p: float  # the p value of Friedman's test that all methods are equal
    critical: float  # mean ranks that are further apart than this differ at 5 %
    pairs: Floats  # [K, K], Nemenyi's p values, 1 on the diagonal


def ranks(scores: Floats, blocks: Sequence[Block], methods: Sequence[str]) -> Ranks:
    """The ranks from scores [N, K], higher is better. Read `pairs` only where `p` is below 5 %.

    Raises StatsError for fewer than BLOCKS blocks or METHODS methods, a repeated block, or a missing score.
    """
    _require_blocks(scores, blocks, methods)
    count, size = scores.shape
    ranked = stats.rankdata(-scores, axis=1)
    mean = ranked.mean(0)
    margin = stats.t.ppf(0.975, count - 1) * ranked.std(0, ddof=1) / np.sqrt(count)
    equal = bool((ranked == ranked[:, :1]).all())  # all methods tied in every block
    friedman = (0.0, 1.0) if equal else stats.friedmanchisquare(*scores.T)
    unit = np.sqrt(size * (size + 1) / (12 * count))  # mean ranks divided by it follow a studentized range
    return Ranks(
        mean=mean,
        low=np.maximum(mean - margin, 1),
        high=np.minimum(mean + margin, size),
        statistic=float(friedman[0]),
        p=float(friedman[1]),
        critical=float(stats.studentized_range.ppf(0.95, size, np.inf) * unit),
        pairs=stats.studentized_range.sf(np.abs(mean[:, None] - mean) / unit, size, np.inf),
    )


def _require_blocks(scores: Floats, blocks: Sequence[Block], methods: Sequence[str]) -> None:
    """Raises StatsError where ranks would mean nothing."""
    if scores.shape != (len(blocks), len(methods)):
        raise StatsError(f"scores of shape {scores.shape} for {len(blocks)} blocks and {len(methods)} methods")
    if repeated := [block for block in blocks if list(blocks).count(block) > 1]:
        raise StatsError(
            f"block {' on '.join(repeated[0])} is given more than once; a block is a scenario on a data set, and the sites "
            "of one federation are no blocks: they share models"
        )
    if len(methods) < METHODS:
        raise StatsError(f"{len(methods)} methods; ranks need {METHODS}: compare two by their differences")
    if len(blocks) < BLOCKS:
        raise StatsError(
            f"{len(blocks)} blocks (scenarios x data sets); ranks need {BLOCKS}: with fewer, the test's level does not hold"
        )
    if not np.isfinite(scores).all():
        block, method = np.argwhere(~np.isfinite(scores))[0]
        raise StatsError(
            f"{methods[method]} has no score on {' on '.join(blocks[block])}; run it, or leave the block or method out"
        )
