"""Performance profiles, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedsynth.benchmarks.stats.profiles import improvement, profiles, share_above
from fedsynth.benchmarks.stats.scores import StatsError

SCORES = np.array([[20.0, 22, 21], [25, 25, 19], [30, 29, np.nan], [18, 18.5, 19]])


def test_by_hand() -> None:
    found = profiles(SCORES, np.array([0, 0.5, 1, 2, 10]))
    assert found.tolist() == [[0.5, 0.5, 0.75, 1, 1], [0.5, 0.75, 1, 1, 1], [0.25, 0.25, 0.5, 0.5, 0.75]]


def test_a_profile_rises_and_a_failed_run_never_counts() -> None:
    found = profiles(SCORES, np.linspace(0, 1e9, 50))
    assert (np.diff(found) >= 0).all()
    assert found[:, -1].tolist() == [1, 1, 0.75]


def test_what_has_no_best_is_refused() -> None:
    with pytest.raises(StatsError, match="cell 1 has the scores"):
        profiles(np.array([[1.0, 2], [np.nan, np.nan]]), np.zeros(1))
    with pytest.raises(StatsError, match="cell 0 has the scores"):
        profiles(np.array([[1.0, np.inf]]), np.zeros(1))
    with pytest.raises(StatsError, match=r"-1.0"):
        profiles(SCORES, np.array([-1.0]))
    with pytest.raises(StatsError, match="one row a cell"):
        profiles(np.zeros(3), np.zeros(1))


def test_the_share_above_and_the_probability_of_improvement_are_those_of_the_paper() -> None:
    """Agarwal et al. 2021: F(tau) is the mean over tasks of the mean over runs of [score > tau]; P(X > Y) is the mean over tasks
    of Mann and Whitney's statistic divided by the number of pairs, in which a tie counts one half."""
    stream = np.random.default_rng(0)
    ours, theirs = stream.integers(0, 6, (5, 8)).astype(float), stream.integers(0, 5, (4, 8)).astype(float)
    taus = np.linspace(-1, 6, 15)
    by_hand = [np.mean([np.mean([score > tau for score in task]) for task in ours.T]) for tau in taus]
    np.testing.assert_allclose(share_above(ours, taus)[0], by_hand)
    tasks = [
        stats.mannwhitneyu(x, y, alternative="greater").statistic / 20 for x, y in zip(ours.T, theirs.T, strict=True)
    ]
    found = improvement(ours, theirs)
    assert found[0] == pytest.approx(np.mean(tasks))
    turned = improvement(theirs, ours)
    assert [float(value) for value in turned] == pytest.approx([1 - float(found[place]) for place in (0, 2, 1)])
    assert 0 < found[1] < found[0] < found[2] < 1


def test_equal_runs_improve_in_half_of_the_pairs_and_five_of_five_wins_are_no_certainty() -> None:
    level = np.full((5, 3), 20.0)
    assert improvement(level, level) == (0.5, 0.5, 0.5)
    share, low, high = improvement(level + 1, level)
    assert (share, high) == (1, 1)
    assert low == pytest.approx(stats.binomtest(5, 5).proportion_ci(0.95).low)
    share, low, high = improvement(level - 1, level)
    assert (share, low) == (0, 0)
    assert high == pytest.approx(stats.binomtest(0, 5).proportion_ci(0.95).high)


def test_the_interval_of_a_share_is_that_of_t_on_log_odds() -> None:
    runs = np.array([[0.0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]])  # shares 1/4, 1/2, 3/4
    share, low, high = share_above(runs, np.array([0.5, 2, -1]))
    assert share.tolist() == [0.5, 0, 1]
    margin = stats.t.ppf(0.975, 2) * np.sqrt(0.0625 / 3) / 0.25
    assert low[0] == pytest.approx(1 / (1 + np.exp(margin)))
    assert high[0] == pytest.approx(1 - low[0])
    assert (low[1:].tolist(), high[1:].tolist()) == ([0, 1], [0, 1])


def test_one_seed_is_refused() -> None:
    with pytest.raises(StatsError, match=r"shape \(1, 3\); give 2 or more seeds"):
        improvement(np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(StatsError, match=r"shape \(1, 3\)"):
        share_above(np.ones((1, 3)), np.zeros(1))


@pytest.mark.long
def test_how_often_the_intervals_cover(capsys: pytest.CaptureFixture[str]) -> None:
    """The table in profiles.py."""
    for seeds in (5, 10):
        covered = {}
        for gap, tau in ((0.0, 0.0), (1.0, 0.5), (2.0, 1.0)):
            stream = np.random.default_rng([seeds, int(gap)])
            better, above = stats.norm.cdf(gap / np.sqrt(2)), stats.norm.sf(tau)
            hits = np.zeros(2)
            for _ in range(2000):
                ours, theirs = np.sqrt(0.5) * (stream.normal(size=(2, seeds, 1)) + stream.normal(size=(2, seeds, 8)))
                _, low, high = improvement(ours + gap, theirs)
                _, (least,), (most,) = share_above(ours, np.array([tau]))
                hits += low <= better <= high, least <= above <= most
            covered["improvement", better], covered["share", above] = hits / 20
        with capsys.disabled():
            print(seeds, {f"{name} {true:.2f}": round(value, 1) for (name, true), value in sorted(covered.items())})
        assert 93 < min(covered.values()) <= max(covered.values()) < 99
