"""What a score costs, on curves written by hand and on those of published runs."""

from __future__ import annotations

import numpy as np
import pytest
from support.checkout import ROOT

from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.score_table import ScoreTable
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.reach import at_traffic, reach
from fedsynth.benchmarks.stats.validation_curve import ValidationCurve

TASKS = {"a": ["T1->T2"], "b": ["T1->T2", "T2->PD", "PD->T1"]}
PUBLISHED = Store(ROOT / "results" / "equal_footing")
NAN = float("nan")


def lines(site: str, psnr: list[float], sent: float) -> list[str]:
    """The lines of a curve: a site's validation PSNR in each round, and the bytes that it sends; it receives twice as many."""
    return [f"{number},{site},{value},{sent},{2 * sent},0" for number, value in enumerate(psnr, 1)]


def made(*rows: str) -> ValidationCurve:
    text = "\n".join(["round,site,val_psnr,bytes_up,bytes_down,seconds", *rows, ""])
    return ValidationCurve.of(ScoreTable.parsed("run", text), TASKS)


@pytest.fixture
def curve() -> ValidationCurve:
    return made(*lines("a", [NAN, 10, NAN, 20, NAN, 18], 100), *lines("b", [NAN, 14, NAN, 16, NAN, 22], 10))


def test_a_site_counts_by_its_tasks(curve: ValidationCurve) -> None:
    assert curve.rounds.tolist() == [2, 4, 6]
    assert curve.overall.tolist() == [13, 17, 21]
    assert curve.traffic.tolist() == [660, 1320, 1980]  # 330 a round, those without validation too
    assert curve.is_whole


def test_rounds_and_bytes_to_reach(curve: ValidationCurve) -> None:
    assert (reach(curve, 17).round, reach(curve, 17).traffic) == (4, 1320)
    assert (reach(curve, 17.1).round, reach(curve, 17.1).traffic) == (6, 1980)
    never = reach(curve, 21.1)
    assert np.isnan([never.round, never.traffic]).all()


def test_quality_at_equal_bytes(curve: ValidationCurve) -> None:
    assert [at_traffic(curve, budget) for budget in (660, 1319, 1320, 1e9)] == [13, 13, 17, 21]
    assert np.isnan(at_traffic(curve, 659))
    silent = made(*lines("a+b", [15, 16], 0))  # pooled: one row for all, nothing sent
    assert at_traffic(silent, 0) == 16


def test_a_curve_of_some_of_the_sites_is_not_whole() -> None:
    assert not made(*lines("a", [10], 1)).is_whole
    assert not made(*lines("a", [10, 11], 1), *lines("b", [10], 1)).is_whole
    assert made(*lines("a+b", [10, 11], 1)).is_whole


def test_a_run_that_was_never_validated_has_no_round() -> None:
    assert made(*lines("a+b", [NAN, NAN], 1)).rounds.size == 0


def test_the_best_round_of_a_published_run_is_the_selected_one() -> None:
    runs = finished_runs(PUBLISHED)[::20]
    assert len(runs) > 5
    for run in runs:
        if run.record.status == "done":
            curve = ValidationCurve.of(run.curve_table, run.tasks)
            assert curve.overall.max() == pytest.approx(run.record.validation_psnr, abs=1e-6), run.record.run
            assert curve.rounds[curve.overall.argmax()] == run.record.selected_round
