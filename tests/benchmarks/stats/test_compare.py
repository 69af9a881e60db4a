"""The comparison of two methods: values worked by hand, the analysis of variance of statsmodels, and what must not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.weightstats import DescrStatsW
from support.stores import one_site, random

from fedsynth.benchmarks.stats.compare import Comparison, compare, wilcoxon_given_these_models
from fedsynth.benchmarks.stats.equivalence import equivalence
from fedsynth.benchmarks.stats.scores import Floats, Scores, StatsError

NUMBERS = (
    "difference",
    "error",
    "freedom",
    "low",
    "high",
    "p",
    "spread",
    "effect",
    "sites_gaining",
    "subjects_gaining",
)


def numbers(comparison: Comparison) -> list[float]:
    return [getattr(comparison, name) for name in NUMBERS]


def test_two_seeds_two_subjects_by_hand() -> None:
    # Means of seeds 2 and 5, of subjects 1.5 and 5.5, residuals +-1: V = 4.5 / 2, 8 / 2 and 4 / (2 x 2).
    found = compare(one_site([[1, 3], [2, 8]]))
    assert found.difference == 3.5
    assert found.error**2 == pytest.approx(2.25 + 4 - 1)
    assert found.freedom == pytest.approx(5.25**2 / (2.25**2 + 4**2 + 1))
    margin = found.error * stats.t.ppf(0.975, found.freedom)
    assert (found.low, found.high) == pytest.approx((3.5 - margin, 3.5 + margin))
    assert found.spread**2 == pytest.approx((2 + 18) / 2)  # variances over subjects of the two seeds
    assert found.effect == pytest.approx(3.5 / 10**0.5)
    assert (found.sites_gaining, found.subjects_gaining, found.seeds, found.subjects) == (1, 1, 2, 2)
    assert found.few_seeds
    assert found.p is None


def test_sites_and_tasks_by_hand() -> None:
    # Site-tasks average 2, 4 and 0. Site a: variance of the mean 2 / 2; site b: the subjects' sums over tasks are 3 and 5,
    # variance of their mean 2 / 2; each weighs (1/3)^2. Equal seeds add nothing, and each site has one degree of freedom.
    columns = (
        *(("a", "x", "1"), ("a", "x", "2"), ("b", "x", "1")),
        *(("b", "x", "2"), ("b", "y", "1"), ("b", "y", "2")),
    )
    found = compare(Scores((0, 1, 2, 3, 4), columns, np.array([[1.0, 3, 2, 6, 1, -1]] * 5)))
    assert found.difference == pytest.approx(2)
    assert found.error**2 == pytest.approx(2 / 9)
    assert found.freedom == pytest.approx(2)
    assert found.spread**2 == pytest.approx((2 + 8 + 2) / 3)
    assert (found.sites_gaining, found.subjects_gaining) == (1, 1)
    assert found.p == pytest.approx(2 * stats.t.sf(2 / (2 / 9) ** 0.5, 2))


def test_negative_components_are_zero_by_hand() -> None:
    # [[0, 2], [2, 0]] has equal means of seeds and of subjects: only the residual (V = 4 / 4) is left, with 1 degree.
    crossed = compare(one_site([[0, 2], [2, 0]]))
    assert (crossed.error, crossed.freedom) == pytest.approx((1, 1))
    # Subjects 0.5 and 3.5, seeds 1.5 and 2.5, residuals +-1: V = 1/4 (seeds) < 1 (residual) < 9/4 (subjects).
    seeds = compare(one_site([[-1 + 0.5, 1 + 2.5], [1 + 0.5, -1 + 4.5]]))
    assert (seeds.error**2, seeds.freedom) == pytest.approx((9 / 4, 1))
    subjects = compare(one_site(np.array([[-0.5, 3.5], [1.5, 3.5]]).T))
    assert (subjects.error**2, subjects.freedom) == pytest.approx((9 / 4, 1))


@pytest.mark.parametrize("seeds_spread", [False, True])
def test_mean_squares_are_those_of_statsmodels(seeds_spread: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=7) + rng.normal(0, 0.4, (5, 7))
    values += rng.normal(size=(5, 1)) if seeds_spread else -0.9 * (values - values.mean(0)).mean(1, keepdims=True)
    frame = pd.DataFrame([(s, i, values[s, i]) for s, i in np.ndindex(values.shape)], columns=["seed", "subject", "d"])
    table = anova_lm(ols("d ~ C(seed) + C(subject)", frame).fit())
    seed, subject, rest = (table.sum_sq / table.df / values.size).to_numpy()
    degrees = table.df.to_numpy()
    assert subject > rest
    if seeds_spread:
        assert seed > rest
        variance, uncertainty = seed + subject - rest, np.array([seed, subject, rest]) ** 2 @ (1 / degrees)
    else:
        assert seed < rest
        variance, uncertainty = subject, subject**2 / degrees[1]
    found = compare(one_site(values))
    assert found.error**2 == pytest.approx(variance, rel=1e-9)
    assert found.freedom == pytest.approx(variance**2 / uncertainty, rel=1e-9)


def test_without_seed_spread_it_is_the_t_test_over_subjects() -> None:
    subjects = np.random.default_rng(2).normal(0.4, 1, 12)
    found, theirs = compare(one_site([subjects] * 5)), stats.ttest_1samp(subjects, 0)
    assert (found.p, found.freedom) == pytest.approx((theirs.pvalue, 11), rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
    nearly = compare(one_site(subjects + np.random.default_rng(3).normal(0, 0.01, (5, 12))))
    assert nearly.p == pytest.approx(theirs.pvalue, rel=0.05)


def test_without_subject_spread_it_is_the_t_test_over_seeds() -> None:
    seeds = np.random.default_rng(2).normal(0.4, 1, 6)
    found, theirs = compare(one_site(np.repeat(seeds[:, None], 8, axis=1))), stats.ttest_1samp(seeds, 0)
    assert (found.p, found.freedom) == pytest.approx((theirs.pvalue, 5), rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_two_sites_are_the_test_of_welch() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.5, 1, 6), rng.normal(0.1, 3, 9)
    columns = (*(("a", "x", f"{i}") for i in range(6)), *(("b", "x", f"{i}") for i in range(9)))
    found = compare(Scores(tuple(range(5)), columns, np.array([[*a, *b]] * 5)))
    theirs = stats.ttest_ind(a, -b, equal_var=False)  # the mean of both sites' means is half of a's less minus b's
    assert found.difference == pytest.approx((a.mean() + b.mean()) / 2)
    assert (found.p, found.freedom) == pytest.approx((theirs.pvalue, theirs.df), rel=1e-9)


@pytest.mark.parametrize("number", range(5))
def test_what_must_not_matter(number: int) -> None:
    rng = np.random.default_rng(number)
    scores = random(rng)
    own = compare(scores)
    assert own.low < own.difference < own.high
    swapped = compare(Scores(scores.seeds, scores.columns, -scores.values))
    assert numbers(swapped)[1:3] == pytest.approx(numbers(own)[1:3])
    assert (swapped.difference, swapped.low, swapped.high, swapped.p) == pytest.approx(
        (-own.difference, -own.high, -own.low, own.p)
    )
    assert swapped.sites_gaining == pytest.approx(1 - own.sites_gaining)
    moved = compare(Scores(scores.seeds, scores.columns, scores.values + 7))
    assert (moved.difference, moved.error, moved.freedom, moved.spread) == pytest.approx(
        (own.difference + 7, own.error, own.freedom, own.spread)
    )
    scaled = compare(Scores(scores.seeds, scores.columns, 3 * scores.values))
    assert (scaled.p, scaled.effect, scaled.freedom) == pytest.approx((own.p, own.effect, own.freedom))
    order, seeds = rng.permutation(len(scores.columns)), rng.permutation(len(scores.seeds))
    columns = tuple(scores.columns[index] for index in order)
    assert numbers(compare(Scores(scores.seeds, columns, scores.values[seeds][:, order]))) == pytest.approx(
        numbers(own)
    )
    names = {site: f"z{len(columns) - index}" for index, (site, *_) in enumerate(columns)}
    renamed = tuple((names[site], task, f"renamed {subject}") for site, task, subject in columns)
    assert numbers(compare(Scores(scores.seeds, renamed, scores.values[:, order]))) == pytest.approx(numbers(own))


def test_which_subject_a_value_is_of_matters() -> None:
    """Two tasks of one subject are not two subjects: the same numbers, paired or not, have another standard error."""
    subjects = np.random.default_rng(5).normal(size=8)
    places = [("a", task, f"{number}") for task in "xy" for number in range(8)]
    paired = compare(Scores(tuple(range(5)), tuple(places), np.tile(subjects, (5, 2))))
    opposed = compare(Scores(tuple(range(5)), tuple(places), np.array([[*subjects, *-subjects]] * 5)))
    assert paired.error == pytest.approx(stats.sem(subjects))
    assert opposed.error == pytest.approx(0, abs=1e-12)


def test_a_subject_without_a_task_keeps_the_error_of_independent_means() -> None:
    """Tasks that share no subject add up as Welch's two samples do, not as one sample of twice the size."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=4), rng.normal(size=4)
    columns = tuple(("a", "xy"[number // 4], f"{number}") for number in range(8))
    found = compare(Scores(tuple(range(5)), columns, np.array([[*x, *y]] * 5)))
    assert found.error**2 == pytest.approx((stats.sem(x) ** 2 + stats.sem(y) ** 2) / 4)


def test_equal_methods() -> None:
    found = compare(one_site(np.zeros((5, 4))))
    assert (found.difference, found.error, found.low, found.high, found.p) == (0, 0, 0, 0, 1)
    assert np.isnan(found.effect)
    assert (found.sites_gaining, found.subjects_gaining) == (0, 0)
    assert compare(one_site(np.ones((5, 4)))).p == 0


def test_few_seeds_draw_no_significance() -> None:
    values: Floats = np.random.default_rng(7).normal(5, 0.1, (5, 6))
    few, enough = compare(one_site(values[:4])), compare(one_site(values))
    assert few.few_seeds
    assert few.p is None
    assert few.low > 4
    assert not enough.few_seeds
    assert enough.p is not None
    assert enough.p < 1e-3


def test_one_seed_and_one_subject_are_refused() -> None:
    with pytest.raises(StatsError, match=r"1 seed \(0\).*run 2 or more, 5 for significance"):
        compare(one_site([[1, 2, 3]]))
    columns = (("a", "x", "1"), ("a", "x", "2"), ("b", "y", "1"))
    with pytest.raises(StatsError, match=r"site b has 1 test subject for y: .* 2 are needed"):
        compare(Scores((0, 1), columns, np.zeros((2, 3))))


def test_wilcoxon_is_scipys_and_knows_no_seeds() -> None:
    values = np.random.default_rng(8).normal(0.3, 1, (5, 12))
    p = wilcoxon_given_these_models(one_site(values))
    assert p == pytest.approx(stats.wilcoxon(values.mean(0)).pvalue, rel=1e-9)
    shifts = np.array([-3, -1, 0, 1, 3])[:, None]  # of seeds, which it cannot see
    assert wilcoxon_given_these_models(one_site(values + shifts)) == pytest.approx(p)
    assert wilcoxon_given_these_models(one_site(np.zeros((5, 4)))) == 1


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
