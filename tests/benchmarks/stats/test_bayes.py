"""The Bayesian signed-rank test against its definition written as loops, and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedsynth.benchmarks.stats import bayes
from fedsynth.benchmarks.stats.bayes import signed_rank
from fedsynth.benchmarks.stats.scores import Floats, StatsError


def by_definition(differences: Floats, rope: float, draws: int) -> list[float]:
    """[worse, equivalent, better]: the sums over pairs of the paper, draw by draw, on weights drawn by scipy."""
    z, wins = [0.0, *differences], np.zeros(3)
    for w in stats.dirichlet([0.5] + [1] * len(differences), seed=1).rvs(draws):
        theta = np.zeros(3)
        for i in range(len(z)):
            for j in range(len(z)):
                place = 2 if z[i] + z[j] > 2 * rope else 0 if z[i] + z[j] < -2 * rope else 1
                theta[place] += w[i] * w[j]
        wins[theta.argmax()] += 1 / draws
    return wins.tolist()


@pytest.mark.parametrize(("shift", "rope"), [(0.2, 0.1), (-0.5, 0.3), (0.0, 0.8)])
def test_against_the_definition(shift: float, rope: float) -> None:
    differences = np.random.default_rng(0).normal(shift, 0.6, 6)
    found = signed_rank(differences, rope)
    assert [found.worse, found.equivalent, found.better] == pytest.approx(
        by_definition(differences, rope, 3_000), abs=0.035
    )
    assert found.worse + found.equivalent + found.better == pytest.approx(1)
    assert found.rope == rope


def test_known_answers() -> None:
    assert signed_rank(np.full(8, 3.0), 0.1).better > 0.999
    assert signed_rank(np.full(8, -3.0), 0.1).worse > 0.999
    assert signed_rank(np.linspace(-0.1, 0.1, 8), 0.2).equivalent == 1
    for edge in (-0.5, 0.5):  # the region is closed
        assert signed_rank(np.full(8, edge), 0.5).equivalent == 1
    # The right wins if its mass, all but (w_0)^2 or the pairs with z_0 = 0 too, is the larger: z_i = 1, rope 0.4 and 0.6.
    prior = stats.beta(0.5, 5)  # of w_0 among 5 differences
    assert signed_rank(np.ones(5), 0.4).better == pytest.approx(prior.cdf(0.5**0.5), abs=0.0023)
    assert signed_rank(np.ones(5), 0.6).better == pytest.approx(prior.cdf(1 - 0.5**0.5), abs=0.0068)


def test_draws_repeat_and_swapping_swaps() -> None:
    differences = np.random.default_rng(3).normal(0.2, 0.5, 7)
    found, swapped = signed_rank(differences, 0.1), signed_rank(-differences, 0.1)
    assert found == signed_rank(differences, 0.1)
    assert found != signed_rank(differences, 0.1, seed=1)
    assert (swapped.better, swapped.worse) == pytest.approx((found.worse, found.better), abs=1e-12)


def test_too_little_is_refused() -> None:
    with pytest.raises(StatsError, match=r"shape \(4,\); .* 5 independent blocks"):
        signed_rank(np.ones(4), 0.1)
    with pytest.raises(StatsError, match="block 2 is missing"):
        signed_rank(np.array([1, 2, np.nan, 4, 5]), 0.1)
    for rope in (0.0, -0.1, np.nan):
        with pytest.raises(StatsError, match="does not matter, above 0"):
            signed_rank(np.ones(5), rope)


@pytest.mark.long
@pytest.mark.parametrize(("count", "rope"), [(4, 0.3), (5, 0.3), (10, 0.3), (5, 0.001)])
def test_what_the_docstring_says_was_measured(count: int, rope: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often equal methods (normal differences of sd 1) are told apart with a probability above 95 %."""
    monkeypatch.setattr(bayes, "BLOCKS", 1)
    monkeypatch.setattr(bayes, "DRAWS", 4_000)
    rng = np.random.default_rng(count)
    found = [signed_rank(rng.normal(size=count), rope, seed) for seed in range(4_000)]
    share = float(np.mean([max(one.better, one.worse) > 0.95 for one in found]))
    print(f"\n{count} blocks, rope {rope}: {100 * share:.1f} % told apart")
    assert share < 0.06 if rope == 0.3 and count >= 5 else share > 0.05
