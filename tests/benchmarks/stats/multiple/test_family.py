"""A family's decisions: its standard errors, its p values and intervals, and what the old rule made of equal methods."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from support.stores import one_site, random

from fedsynth.benchmarks.stats.compare import compare, two_way, two_way_of_pairs
from fedsynth.benchmarks.stats.multiple.family import Family, rounded
from fedsynth.benchmarks.stats.multiple.floor import floored
from fedsynth.benchmarks.stats.multiple.holm import holm
from fedsynth.benchmarks.stats.multiple.reference import DRAWS, LEVEL, reference
from fedsynth.benchmarks.stats.scores import Scores, StatsError


def test_the_estimates_of_all_pairs_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    methods = [random(rng) for _ in range(4)]
    values = np.stack([own.values for own in methods]) + 20
    found, *_ = two_way_of_pairs(values, methods[0].design)
    for one, other in combinations(range(4), 2):
        own = two_way(values[one] - values[other], methods[0].design)
        for name in ("difference", "error", "freedom"):
            assert getattr(found, name)[one, other] == pytest.approx(float(getattr(own, name)), rel=1e-9)
    assert (found.difference == -found.difference.T).all()


def test_the_floor_is_the_mean_of_the_median_and_of_what_the_two_methods_have() -> None:
    """The parts of methods whose variances are sums of two are found; of three methods they tell nothing new."""
    part = np.array([9.0, 4, 2, 3, 4])
    sums = (part[:, None] + part) * (1 - np.eye(5))
    low = sums.copy()
    low[0, 1] = low[1, 0] = 6  # in place of 13
    above = np.triu_indices(5, 1)
    design = np.array([[float(method in pair) for method in range(5)] for pair in zip(*above, strict=True)])
    fitted = design @ np.linalg.lstsq(design, low[above])[0]
    floor = (np.median(low[above]) + fitted) / 2
    assert floored(low)[above] == pytest.approx(np.maximum(low[above], floor))
    assert floored(low)[0, 1] == pytest.approx((7 + 7.25 + 2.25) / 2)
    assert floored(sums)[above] == pytest.approx(np.maximum(sums[above], (np.median(sums[above]) + sums[above]) / 2))
    assert floored(low[:3, :3])[np.triu_indices(3, 1)] == pytest.approx([6, 11, 6])


def test_an_interval_has_the_floor_and_excludes_0_where_p_is_below_5() -> None:
    rng = np.random.default_rng(1)
    methods = [random(rng) for _ in range(5)]
    family = Family.of(methods)
    plain = [compare(methods[one].minus(methods[other])) for one, other in combinations(range(5), 2)]
    error = np.zeros((5, 5))
    error[np.triu_indices(5, 1)] = [own.error for own in plain]
    error = np.sqrt(floored(error**2 + error.T**2))
    decided = family.decide(list(combinations(range(5), 2)))
    drawn = reference(5, family.freedom, decided.pairs)
    assert decided.difference == pytest.approx([own.difference for own in plain])
    assert decided.margin == pytest.approx(drawn.critical * error[np.triu_indices(5, 1)])
    assert ((decided.p < LEVEL) == (np.abs(decided.difference) > decided.margin)).all()


def test_freedom_is_that_of_what_all_pairs_have_in_common() -> None:
    """Worked by hand: of seeds alone, of subjects alone, and where both contribute the same."""
    rng = np.random.default_rng(2)
    seeds, subjects = rng.normal(size=(4, 9, 1)), rng.normal(size=(4, 1, 4))
    assert Family.of([one_site(own + np.zeros(4)) for own in seeds]).freedom == 8
    assert Family.of([one_site(own + np.zeros((9, 1))) for own in subjects]).freedom == 3
    ratio = [
        two_way_of_pairs(own + np.zeros((4, 9, 4)), one_site(np.zeros((9, 4))).design) for own in (seeds, subjects)
    ]
    scale = np.sqrt(ratio[0][1].sum() / ratio[1][2].sum())
    assert (
        Family.of([one_site(own) for own in seeds + scale * subjects]).freedom == 6
    )  # of 2 / (1 / 8 + 1 / 3) and twice that


def test_freedom_is_rounded_to_steps_of_a_fifth() -> None:
    assert [rounded(own) for own in (1.4, 6.5, 6.6, 9.4, 9.6, 11.1, 13.3, 100)] == [1, 6, 7, 9, 10, 12, 14, 107]


def test_two_methods_have_the_t_of_their_seeds() -> None:
    """Where one method spreads three times as much as the other, nothing changes: their difference has one spread."""
    drawn = reference(2, 4, ((0, 1),))
    t = np.array([1.0, 2.0, 2.776, 4.6])
    assert drawn.p(t) == pytest.approx(2 * stats.t.sf(t, 4), abs=0.015)
    assert drawn.p(-t).tolist() == drawn.p(t).tolist()
    assert drawn.critical == pytest.approx(2.776, abs=0.15)


def test_p_is_below_the_level_above_the_critical_value_alone() -> None:
    drawn = reference(4, 4, tuple(combinations(range(4), 2)))
    assert drawn.p(np.array(drawn.critical)) == pytest.approx(LEVEL)
    assert drawn.p(np.nextafter(drawn.critical, 9)) < LEVEL
    assert drawn.p(np.array([0, np.inf])).tolist() == [1, 1 / (DRAWS + 1)]


def test_the_names_of_methods_do_not_matter() -> None:
    star = ((0, 1), (0, 2), (0, 3))
    assert reference(4, 4, star) is reference(4, 4, ((1, 3), (3, 0), (2, 3)))
    assert reference(4, 4, star).critical < reference(4, 4, tuple(combinations(range(4), 2))).critical


def test_few_seeds_and_unequal_data_are_refused() -> None:
    for methods, message in (
        ([one_site(np.zeros((4, 6)))] * 2, "4 seeds; below 5 no significance is drawn"),
        ([one_site(np.zeros((5, 6)))], "1 method; a family has 2 or more"),
        ([one_site(np.zeros((5, 6))), one_site(np.zeros((6, 6)))], "same seeds"),
    ):
        with pytest.raises(StatsError, match=message):
            Family.of(methods)


def test_the_order_of_columns_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    methods = [one_site(rng.normal(0.2 * number, 1, (5, 6))) for number in range(5)]
    turned = [Scores(own.seeds, own.columns[::-1], own.values[:, ::-1]) for own in methods[1:]]
    pairs = list(combinations(range(5), 2))
    whole, other = (Family.of(own).decide(pairs) for own in (methods, [methods[0], *turned]))
    assert other.margin == pytest.approx(whole.margin, rel=1e-12)
    assert other.p == pytest.approx(whole.p, abs=1e-3)


def test_equal_methods_and_no_spread() -> None:
    same = Family.of([one_site(np.zeros((5, 4))), one_site(np.zeros((5, 4)))]).decide([(0, 1)])
    assert (same.difference[0], same.margin[0], same.p[0]) == (0, 0, 1)
    apart = Family.of([one_site(np.zeros((5, 4))), one_site(np.ones((5, 4)))]).decide([(0, 1)])
    assert apart.p[0] == 1 / (DRAWS + 1)


def test_holm_by_satterthwaite_does_not_hold_the_level_and_the_family_does() -> None:
    """Ten equal methods, five seeds, which spread 0.8 times as much as subjects: the old rule finds too much."""
    rng = np.random.default_rng(4)
    pairs = list(combinations(range(10), 2))
    old = new = 0
    for _ in range(300):
        noise = rng.normal(size=(10, 1, 20)) + 0.8 * rng.normal(size=(10, 5, 1)) + 0.3 * rng.normal(size=(10, 5, 20))
        methods = [one_site(own) for own in noise]
        new += Family.of(methods).decide(pairs).p.min() < LEVEL
        one, other = np.array(pairs).T
        old += two_way(noise[one] - noise[other], methods[0].design).p.min() * len(pairs) < LEVEL  # Holm's first step
    print(f"\nfamily-wise errors in 300 tables: {old} by the old rule, {new} by the family's")
    assert old > 0.07 * 300
    assert new <= 0.05 * 300


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
