"""The matrix of scores: its weights are those of the table, and what does not fit together is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import finished

from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.compare import compare
from fedsynth.benchmarks.stats.scores import Design, Key, Scores, StatsError
from fedsynth.benchmarks.tables.table import tables

COLUMNS = (("a", "x", "1"), ("a", "x", "2"), ("a", "y", "2"), ("b", "x", "1"))


def run(*scores: float) -> dict[Key, float]:
    """The scores of a run, in the order of COLUMNS."""
    return dict(zip(COLUMNS, scores, strict=True))


def test_weights_by_hand() -> None:
    design = Design(COLUMNS)
    assert design.weights == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3])
    values = np.array([3.0, 5, 7, 10])
    assert design.site_task_means(values) == pytest.approx([4, 7, 10])
    assert design.site_means(values) == pytest.approx([5.5, 10])
    assert design.subject_means(values) == pytest.approx([3, (5 / 6 + 7 / 3) / (1 / 6 + 1 / 3), 10])
    assert values @ design.weights == pytest.approx(7)
    assert design.subjects == (("a", "1"), ("a", "2"), ("b", "1"))  # subject 1 of another site is another subject
    assert design.fewest.tolist() == [1, 1]


def test_the_difference_is_that_of_the_tables_scores(tmp_path: Path) -> None:
    store, rng = Store(tmp_path), np.random.default_rng(0)
    places, counts = (("ixi", "T1->T2"), ("oasis", "T1->T2"), ("oasis", "T2->FLAIR")), (3, 2, 2)
    for name in ("a", "b"):
        for seed in range(5):
            scores = {place: rng.uniform(15, 25, count).tolist() for place, count in zip(places, counts, strict=True)}
            finished.finish(store, finished.identity(method={"name": name}, seed=seed), scores)
    (table,) = tables(finished_runs(store))
    found = []
    for row in table.rows:
        assert row.matrix is not None
        assert row.psnr is not None
        found.append(row.matrix)
        assert (row.matrix.values @ row.matrix.design.weights).mean() == pytest.approx(row.psnr.mean, abs=1e-12)
    first, second = (row.psnr.mean for row in table.rows if row.psnr is not None)
    assert compare(found[0].minus(found[1])).difference == pytest.approx(first - second, abs=1e-12)


def test_columns_are_matched_by_name_not_by_order() -> None:
    a = Scores((0, 1), COLUMNS, np.arange(8.0).reshape(2, 4))
    b = Scores((0, 1), COLUMNS[::-1], a.values[:, ::-1])
    assert not a.minus(b).values.any()


def test_less_may_be_better() -> None:
    scores = Scores.of({0: run(1, 2, 4, 8)}, scale=-0.5)
    assert scores.values.tolist() == [[-0.5, -1, -2, -4]]


def test_subjects_without_a_score_are_left_out() -> None:
    scores = Scores.of({0: run(1, np.nan, 3, 4), 1: run(5, np.nan, 7, 8)})
    assert scores.columns == (COLUMNS[0], *COLUMNS[2:])
    assert scores.values.tolist() == [[1, 3, 4], [5, 7, 8]]
    assert scores.design.weights == pytest.approx([1 / 3] * 3)


def test_what_does_not_fit_is_refused() -> None:
    good = Scores.of({0: run(1, 2, 3, 4), 1: run(1, 2, 3, 4)})
    with pytest.raises(StatsError, match=r"seeds \(0, 1\) against \(0,\)"):
        good.minus(Scores.of({0: run(1, 2, 3, 4)}))
    with pytest.raises(StatsError, match=r"only one method has a score of \('b', 'x', '1'\)"):
        good.minus(Scores((0, 1), COLUMNS[:3], np.zeros((2, 3))))
    with pytest.raises(StatsError, match=r"only one of the seeds 0 and 3 has \('b', 'x', '1'\)"):
        Scores.of({0: run(1, 2, 3, 4), 3: dict([*run(1, 2, 3, 4).items()][:3])})
    with pytest.raises(StatsError, match="score of seed 2, a y 2 is nan"):
        Scores.of({2: run(1, 2, np.nan, 4), 3: run(1, 2, 3, 4)})
    with pytest.raises(StatsError, match=r"none of 4 \(site, task, subject\) has a score"):
        Scores.of({2: run(*[np.nan] * 4)})
    with pytest.raises(StatsError, match="without a row"):
        Scores.of({0: {}})
    with pytest.raises(StatsError, match="0 seeds"):
        Scores.of({})
    with pytest.raises(StatsError, match=r"shape \(2, 4\) for 1 seeds and 4 columns"):
        Scores((0,), COLUMNS, np.zeros((2, 4)))
    with pytest.raises(StatsError, match="repeated"):
        Scores((0, 0), COLUMNS, np.zeros((2, 4)))
