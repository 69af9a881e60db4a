"""Ranks over blocks: scipy's Friedman, scikit-posthocs' Nemenyi, published critical values, and what was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats

from fedsynth.benchmarks.stats import ranks as module
from fedsynth.benchmarks.stats.ranks import Ranks, ranks
from fedsynth.benchmarks.stats.scores import Floats, StatsError


def ranked(scores: Floats) -> Ranks:
    count, size = scores.shape
    return ranks(scores, [("variable", f"d{n}") for n in range(count)], [f"m{n}" for n in range(size)])


@pytest.mark.parametrize("decimals", [8, 0])  # with ties, too
@pytest.mark.parametrize("shape", [(5, 3), (12, 6)])
def test_against_the_libraries(shape: tuple[int, int], decimals: int) -> None:
    scores = np.round(np.random.default_rng(0).normal(size=shape) + np.arange(shape[1]), decimals)
    found = ranked(scores)
    theirs = stats.friedmanchisquare(*scores.T)
    assert (found.statistic, found.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)
    assert found.pairs == pytest.approx(scikit_posthocs.posthoc_nemenyi_friedman(scores).to_numpy(), abs=1e-9)
    assert found.mean == pytest.approx(pd.DataFrame(scores).rank(axis=1, ascending=False).mean().to_numpy())
    distance = np.abs(found.mean[:, None] - found.mean)
    assert ((distance > found.critical) == (found.pairs < 0.05)).all()
    order = stats.rankdata(-scores, axis=1)
    low, high = found.mean + np.outer([-1, 1], stats.sem(order)) * stats.t.ppf(0.975, shape[0] - 1)
    assert found.low == pytest.approx(np.maximum(low, 1))
    assert found.high == pytest.approx(np.minimum(high, shape[1]))


def test_critical_difference_by_hand() -> None:
    # Demsar 2006, table 5: q = 2.569 for 4 methods at 5 %; his example of 14 data sets has a critical difference of 1.25.
    found = ranked(np.random.default_rng(0).normal(size=(14, 4)))
    assert found.critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert round(found.critical, 2) == 1.25


def test_the_best_has_rank_one_and_equal_methods_share_theirs() -> None:
    found = ranked(np.tile([3.0, 9, 5], (6, 1)))
    assert found.mean.tolist() == [3, 1, 2]
    assert found.low.tolist() == found.high.tolist() == [3, 1, 2]
    same = ranked(np.zeros((6, 3)))
    assert (same.mean.tolist(), same.statistic, same.p) == ([2, 2, 2], 0, 1)


def test_too_little_is_refused() -> None:
    with pytest.raises(StatsError, match=r"4 blocks .*ranks need 5"):
        ranked(np.zeros((4, 3)))
    with pytest.raises(StatsError, match="2 methods; ranks need 3"):
        ranked(np.zeros((9, 2)))
    with pytest.raises(StatsError, match="m1 has no score on variable on d2"):
        ranked(np.array([[1, np.nan if block == 2 else 2, 3] for block in range(6)]))
    with pytest.raises(StatsError, match=r"block variable on brats is given more than once.*no blocks"):
        ranks(np.zeros((6, 3)), [("variable", "brats")] * 6, list("abc"))
    with pytest.raises(StatsError, match=r"shape \(6, 3\) for 6 blocks and 2 methods"):
        ranks(np.zeros((6, 3)), [("variable", f"{n}") for n in range(6)], list("ab"))


@pytest.mark.long
@pytest.mark.parametrize("size", [3, 10])
@pytest.mark.parametrize("count", [4, 5, 10, 20])
def test_what_the_docstring_says_was_measured(count: int, size: int) -> None:
    """The level of both tests where methods are equal; the coverage of a mean rank's interval where they differ by 0 to 2 sd."""
    rng, tables = np.random.default_rng([count, size]), 10_000
    order = stats.rankdata(rng.normal(size=(tables, count, size)), axis=-1)
    mean = order.mean(1)
    chi = 12 * count / (size * (size + 1)) * ((mean - (size + 1) / 2) ** 2).sum(-1)
    friedman = np.mean(stats.chi2.sf(chi, size - 1) < 0.05)
    unit = np.sqrt(size * (size + 1) / (12 * count))
    nemenyi = np.mean(np.ptp(mean, axis=-1) > stats.studentized_range.ppf(0.95, size, np.inf) * unit)
    apart = np.linspace(0, 2, size)
    expected = 1 + (stats.norm.cdf((apart - apart[:, None]) / 2**0.5).sum(1) - 0.5)
    own = stats.rankdata(-(rng.normal(size=(tables, count, size)) + apart), axis=-1)
    margin = stats.t.ppf(0.975, count - 1) * stats.sem(own, axis=1)
    covered = np.mean(np.abs(own.mean(1) - expected) <= margin + 1e-12)
    picks = rng.integers(0, count, (200, count))
    low, high = np.quantile(own[:1_000][:, picks].mean(2), [0.025, 0.975], axis=1)
    bootstrap = np.mean((low <= expected) & (expected <= high))
    print(
        f"\n{count} blocks, {size} methods: Friedman {100 * friedman:.1f} %, Nemenyi {100 * nemenyi:.1f} % false; "
        f"t interval {100 * covered:.0f} %, bootstrap {100 * bootstrap:.0f} % covered"
    )
    assert bootstrap < covered
    assert nemenyi < 0.06
    if count >= module.BLOCKS:
        assert friedman < 0.06
    elif size == module.METHODS:
        assert friedman > 0.06
