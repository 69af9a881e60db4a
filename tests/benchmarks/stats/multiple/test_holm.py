"""Holm against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from fedsynth.benchmarks.stats.multiple.holm import holm
from fedsynth.benchmarks.stats.scores import StatsError


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_holm_is_statsmodels(count: int) -> None:
    rng = np.random.default_rng(count)
    for p in (rng.uniform(0, 1, count), rng.uniform(0, 0.1, count), rng.choice([0, 0.01, 0.02, 0.05, 1], count)):
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-9)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]).tolist() == []
    with pytest.raises(StatsError, match="nan"):
        holm([0.1, np.nan])
