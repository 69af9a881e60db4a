"""Equivalence: statsmodels' two one-sided tests where seeds add nothing, and the interval that says the same."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.weightstats import DescrStatsW
from support.matrices import one_site, random

from fedsynth.benchmarks.stats.compare import compare
from fedsynth.benchmarks.stats.equivalence import equivalence
from fedsynth.benchmarks.stats.scores import StatsError


@pytest.mark.parametrize("bound", [0.1, 0.5, 2.0])
def test_one_way_is_statsmodels_ttost(bound: float) -> None:
    subjects = np.random.default_rng(0).normal(0.2, 0.5, 15)
    theirs = DescrStatsW(subjects)
    found = equivalence(compare(one_site([subjects] * 5)), bound)
    assert found.p == pytest.approx(theirs.ttost_mean(-bound, bound)[0], rel=1e-9)
    assert (found.low, found.high) == pytest.approx(theirs.tconfint_mean(0.1), rel=1e-9)
    assert found.bound == bound


@pytest.mark.parametrize("number", range(10))
def test_equivalent_if_the_interval_of_90_percent_is_inside(number: int) -> None:
    comparison = compare(random(np.random.default_rng(number)))
    found = [equivalence(comparison, bound) for bound in np.linspace(0.05, 4, 40)]
    assert [one.equivalent for one in found] == [-one.bound < one.low and one.high < one.bound for one in found]
    assert {one.equivalent for one in found} == {True, False}


def test_equal_methods_are_equivalent_and_far_ones_are_not() -> None:
    assert equivalence(compare(one_site(np.zeros((5, 4)))), 0.1).equivalent
    assert equivalence(compare(one_site(np.ones((5, 4)))), 0.5).p == 1


def test_few_seeds_and_no_bound() -> None:
    few = equivalence(compare(one_site(np.random.default_rng(0).normal(0, 0.1, (3, 8)))), 1)
    assert (few.p, few.equivalent) == (None, None)
    assert -1 < few.low < few.high < 1
    for bound in (0.0, -1.0, np.nan):
        with pytest.raises(StatsError, match="above 0"):
            equivalence(compare(one_site(np.ones((5, 4)))), bound)
