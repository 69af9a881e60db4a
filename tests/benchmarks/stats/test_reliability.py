"""The worst site and the worst subjects, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedsynth.benchmarks.stats.reliability import lower_tail, reliability
from fedsynth.benchmarks.stats.scores import Scores, StatsError

COLUMNS = (("a", "x", "1"), ("a", "x", "2"), ("b", "x", "1"), ("b", "x", "2"), ("b", "y", "1"), ("b", "y", "2"))


def test_by_hand() -> None:
    # Sites: a 21 and 23 over the seeds, b (20 + 22) / 2 and (24 + 22) / 2. A subject of a weighs 1/6, of b 1/3, so the
    # worst 5 % are all of the worst one: 20 of a, then (22 + 21) / 2 of b.
    scores = Scores((0, 1), COLUMNS, np.array([[20.0, 22, 19, 21, 23, 21], [22, 24, 22, 26, 21, 23]]))
    found = reliability(scores)
    assert (found.worst_site, found.worst_site_score, found.over_sites) == ("a", 22, 0)
    assert found.worst_subjects == pytest.approx((20 + 21.5) / 2)
    assert found.over_seeds == pytest.approx(np.std([21, 23], ddof=1))


def test_the_worst_site_is_named() -> None:
    found = reliability(Scores((0,), COLUMNS, np.array([[20.0, 22, 19, 21, 17, 19]])))
    assert (found.worst_site, found.worst_site_score, found.over_seeds) == ("b", 19, None)
    assert found.over_sites == pytest.approx(2**0.5)
    assert reliability(Scores((0,), COLUMNS[:2], np.array([[20.0, 22]]))).over_sites is None


def test_lower_tail() -> None:
    values, weights = np.array([4.0, 1, 3, 2]), np.full(4, 0.25)
    assert lower_tail(values, weights, 0.25) == 1
    assert lower_tail(values, weights, 0.1) == pytest.approx(1)
    assert lower_tail(values, weights, 0.4) == pytest.approx((0.25 * 1 + 0.15 * 2) / 0.4)
    assert lower_tail(values, weights, 1) == pytest.approx(2.5)
    rng = np.random.default_rng(0)
    many, even = rng.normal(size=200), np.full(200, 1 / 200)
    assert lower_tail(many, even) == pytest.approx(np.sort(many)[:10].mean())
    uneven = rng.dirichlet(np.ones(200))
    tails = [lower_tail(many, uneven, share) for share in np.linspace(0.01, 1, 100)]
    assert (np.diff(tails) > 0).all()
    assert tails[-1] == pytest.approx(many @ uneven)


def test_a_share_is_a_share() -> None:
    for share in (0.0, 1.1, np.nan):
        with pytest.raises(StatsError, match="above 0 and at most 1"):
            lower_tail(np.ones(3), np.full(3, 1 / 3), share)
