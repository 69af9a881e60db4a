"""Performance profiles, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedsynth.benchmarks.stats.profiles import profiles
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
