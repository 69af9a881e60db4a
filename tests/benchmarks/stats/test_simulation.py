"""The level of the comparison and the coverage of its interval, on simulated tables; the generating model is fixed here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedsynth.benchmarks.stats.compare import two_way
from fedsynth.benchmarks.stats.scores import Design, Floats

SITES = {"a": (7, ("x", "y")), "b": (5, ("x",)), "c": (5, ("x", "y")), "d": (3, ("y",))}  # subjects of 20, tasks
PLACES = {("a", "x"): 1.5, ("a", "y"): -0.5, ("b", "x"): 0.5, ("c", "x"): -1.0, ("c", "y"): 0.5, ("d", "y"): -1.0}  # dB
CHUNK = 1_000


def design_of(subjects: int) -> Design:
    return Design(
        tuple(
            (site, task, f"{number:03}")
            for site, (share, tasks) in SITES.items()
            for task in tasks
            for number in range(share * subjects // 20)
        )
    )


def tables(rng: np.random.Generator, design: Design, count: int, seeds: int, spread: float, apart: float) -> Floats:
    """[count, seeds, M]: site-tasks that differ but mean 0, subjects of variance 1 (0.64 shared by a subject's tasks, 0.36
    of each task), a residual of sd 0.5, and seeds of variance spread^2, of which the share `apart` is each site's own."""
    sizes = (count, seeds, len(design.columns))
    values = np.array([PLACES[site, task] for site, task, _ in design.columns]) + rng.normal(0, 0.5, sizes)
    values += 0.8 * rng.normal(size=(count, 1, len(design.subjects))) @ design.of_subject.T
    values += 0.6 * rng.normal(size=(count, 1, sizes[2]))
    values += spread * np.sqrt(1 - apart) * rng.normal(size=(count, seeds, 1))
    by_site = spread * np.sqrt(apart) * rng.normal(size=(count, seeds, len(design.sites)))
    values += by_site @ (design.of_subject @ design.at_site).T
    return values


def measure(subjects: int, seeds: int, spread: float, apart: float = 0, count: int = 100_000) -> tuple[float, float]:
    """The share of tables with a false positive at 5 %, and that of 95 % intervals which hold a true difference of 0.7."""
    rng = np.random.default_rng([subjects, seeds, int(10 * spread), int(10 * apart)])
    design, false, covered = design_of(subjects), 0, 0
    for _ in range(count // CHUNK):
        values = tables(rng, design, CHUNK, seeds, spread, apart)
        null = two_way(values, design)
        false += int((2 * stats.t.sf(np.abs(null.difference) / null.error, null.freedom) < 0.05).sum())
        true = two_way(values + 0.7, design)
        covered += int((np.abs(true.difference - 0.7) <= true.error * stats.t.ppf(0.975, true.freedom)).sum())
    return false / count, covered / count


def test_site_tasks_mean_nothing_in_the_generating_model() -> None:
    design = design_of(20)
    assert (len(design.subjects), len(design.columns), design.site_tasks) == (20, 32, tuple(sorted(PLACES)))
    assert sum(PLACES.values()) == 0


def test_level_and_coverage_in_one_cell() -> None:
    false, covered = measure(subjects=20, seeds=5, spread=0.3, count=4_000)  # Monte-Carlo error 0.35 points
    assert 0.03 < false < 0.06
    assert 0.94 < covered < 0.97


@pytest.mark.long
@pytest.mark.parametrize("spread", [0, 0.3, 1])
@pytest.mark.parametrize("subjects", [20, 80])
@pytest.mark.parametrize("seeds", [5, 10])
def test_level_and_coverage(seeds: int, subjects: int, spread: float) -> None:
    false, covered = measure(subjects, seeds, spread)
    print(
        f"\n{seeds} seeds, {subjects} subjects, spread {spread}: {100 * false:.2f} % false, {100 * covered:.2f} % covered"
    )
    assert false <= 0.06
    assert 0.93 <= covered <= 0.97


@pytest.mark.long
@pytest.mark.parametrize("seeds", [5, 10])
def test_seeds_may_shift_each_site_apart(seeds: int) -> None:
    false, covered = measure(20, seeds, 1, apart=0.5)
    print(f"\n{seeds} seeds, 20 subjects, spread 1, half of it each site's: {100 * false:.2f} % false")
    assert false <= 0.06
    assert 0.93 <= covered <= 0.97


@pytest.mark.long
@pytest.mark.parametrize("spread", [0, 0.3, 1])
@pytest.mark.parametrize("subjects", [20, 80])
def test_three_seeds_do_not_hold_the_level(subjects: int, spread: float) -> None:
    """Why significance needs 5 seeds: with 3 the level is exceeded, by little, where seeds spread as much as subjects."""
    false, _ = measure(subjects, 3, spread)
    print(f"\n3 seeds, {subjects} subjects, spread {spread}: {100 * false:.2f} % false")
    assert false <= 0.08
    if spread == 1:
        assert false > 0.06


@pytest.mark.slow
def test_naive_tests_fail_where_this_one_holds() -> None:
    """On the same tables: a t test over subjects of differences averaged over seeds, which takes the seeds as fixed."""
    rng, design = np.random.default_rng(0), design_of(80)
    values = tables(rng, design, 2_000, 5, spread=0.3, apart=0)
    subjects = design.subject_means(values - np.array([PLACES[s, t] for s, t, _ in design.columns])).mean(1)
    naive = np.mean(stats.ttest_1samp(subjects, 0, axis=-1).pvalue < 0.05)
    print(f"\nt test over subjects: {100 * naive:.1f} % false")
    assert naive > 0.15
