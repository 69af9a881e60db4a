"""A family's decisions: its standard errors, its p values and intervals, and what the old rule made of equal methods."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from support.matrices import one_site, random

from fedsynth.benchmarks.stats.compare import compare, two_way, two_way_of_pairs
from fedsynth.benchmarks.stats.multiple.family import Family
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


def test_a_variance_counts_as_at_least_half_of_the_median() -> None:
    rng = np.random.default_rng(1)
    methods = [random(rng) for _ in range(5)]
    family = Family.of(methods)
    plain = [compare(methods[one].minus(methods[other])) for one, other in combinations(range(5), 2)]
    floor = np.sqrt(np.median([own.error**2 for own in plain]) / 2)
    decided = family.decide(list(combinations(range(5), 2)))
    drawn = reference(5, family.freedom, decided.pairs)
    assert decided.difference == pytest.approx([own.difference for own in plain])
    assert decided.margin == pytest.approx([drawn.critical * max(own.error, floor) for own in plain])
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
    assert Family.of([one_site(own) for own in seeds + scale * subjects]).freedom == int(2 / (1 / 8 + 1 / 3))


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
