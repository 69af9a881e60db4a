"""Validation curves, and what is read from them: whether they still rise, and what a score costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.records.finished import FinishedRun, finished_runs
from fedsynth.benchmarks.records.score_table import ScoreTable
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.sections import POINTS, curve_points
from fedsynth.benchmarks.stats.scores import Floats
from fedsynth.benchmarks.stats.validation_curve import CurveOverSeeds, ValidationCurve, at_traffic, reach, rising

# Curves


NAN = float("nan")


def run(folder: Path, curve: Mapping[str, Sequence[float]], seed: int = 0, **costs: float) -> ValidationCurve:
    """The curve of a run with this validation PSNR a round, of a site with one task, ixi, and one with two, oasis."""
    what, store = finished.identity(seed=seed), Store(folder)
    template = finished.curve(what)[0] | costs
    rows = [
        template | {"site": site, "round": round, "val_psnr": psnr}
        for site, values in curve.items()
        for round, psnr in enumerate(values, start=1)
    ]
    name = finished.finish(store, what, rows=rows)
    record = store.record(name)
    assert record is not None
    found = FinishedRun(record, store.folder(name))
    return ValidationCurve.of(found.curve_table, found.tasks)


def test_the_mean_is_over_site_tasks(tmp_path: Path) -> None:
    found = run(tmp_path, {"ixi": [17, 20], "oasis": [20, 26]})
    assert found.overall == pytest.approx([19, 24])
    assert (found.values("ixi").tolist(), found.values("oasis").tolist()) == ([17, 20], [20, 26])


def test_bytes_and_seconds_are_those_of_all_sites_since_the_start(tmp_path: Path) -> None:
    found = run(tmp_path, {"ixi": [NAN, 20, 21], "oasis": [NAN, 26, 27]}, bytes_up=2, bytes_down=3, seconds=0.5)
    assert found.rounds.tolist() == [2, 3]
    assert (found.traffic.tolist(), found.seconds.tolist()) == ([20, 30], [2, 3])


def test_rounds_without_validation_are_bridged(tmp_path: Path) -> None:
    found = run(tmp_path, {"ixi": [17, NAN, 20, 21], "oasis": [20, NAN, 26, NAN]})
    series = CurveOverSeeds.of([found])
    assert (series.rounds.tolist(), series.mean.tolist()) == (
        [1, 3],
        pytest.approx([19, 24]),
    )  # in 4 only ixi was validated
    assert CurveOverSeeds.of([found], "ixi").mean.tolist() == [17, 20, 21]


def test_seeds_are_averaged_as_far_as_all_of_them_came(tmp_path: Path) -> None:
    whole = run(tmp_path, {"ixi": [10, 12, 14], "oasis": [10, 12, 14]}, bytes_up=1, bytes_down=0)
    broken = run(tmp_path, {"ixi": [20, 22, NAN], "oasis": [20, 22, NAN]}, seed=1, bytes_up=3, bytes_down=0)
    series = CurveOverSeeds.of([whole, broken])
    assert series.rounds.tolist() == [1, 2]
    assert series.mean == pytest.approx([15, 17])
    assert (series.low, series.high) == (pytest.approx([10, 12]), pytest.approx([20, 22]))
    assert series.traffic.tolist() == [4, 8]


def test_sites_that_train_as_one_have_one_line(tmp_path: Path) -> None:
    found = run(tmp_path, {"ixi+oasis": [20, 21]})
    assert found.overall == pytest.approx([20, 21])
    assert CurveOverSeeds.of([found], "ixi").rounds.size == 0


def test_a_run_without_any_validation_has_an_empty_curve(tmp_path: Path) -> None:
    assert CurveOverSeeds.of([run(tmp_path, {"ixi": [NAN]})]).mean.size == 0


def test_a_page_gets_evenly_spaced_points_and_the_last() -> None:
    line = np.arange(1, 1001, dtype=float)
    shown = curve_points(CurveOverSeeds(line, 1e6 * line, line, line / 100, line / 100, line / 100))
    assert (len(shown["round"]), shown["round"][0], shown["round"][-1]) == (POINTS, 1, 1000)
    assert np.ptp(np.diff(np.array(shown["round"], float))) <= 1
    assert shown["MB"] == shown["round"]
    assert "low" not in shown  # one seed has no band


# Whether they still rise


def drawn(rounds: Floats, psnr: Floats) -> ValidationCurve:
    return ValidationCurve(rounds, psnr, np.zeros_like(rounds), np.zeros_like(rounds), {})


def test_a_line_gains_its_slope_times_the_last_quarter() -> None:
    rounds = np.arange(1.0, 41)
    assert rising(drawn(rounds, 20 + 0.03 * rounds)) == pytest.approx(0.3)
    assert rising(drawn(rounds, 20 - 0.03 * rounds)) == pytest.approx(-0.3)
    bent = np.where(rounds <= 30, 0.5 * rounds, 15 + 0.01 * (rounds - 30))
    assert rising(drawn(rounds, bent)) == pytest.approx(0.1)


def test_of_rounds_that_were_validated() -> None:
    rounds = np.arange(5.0, 101, 5)  # every fifth: 80, 85, ..., 100 are within the last quarter, 75 is not
    jump = np.where(rounds > 75, 21.0, 10.0)
    assert rising(drawn(rounds, jump)) == pytest.approx(0, abs=1e-9)
    assert rising(drawn(rounds, np.polyval([0.001, 0, 20], rounds))) == pytest.approx(
        25 * np.polyfit(rounds[15:], np.polyval([0.001, 0, 20], rounds)[15:], 1)[0]
    )


def test_where_the_last_quarter_has_fewer_than_three_the_last_three_are_taken() -> None:
    rounds = np.array([3.0, 6, 9, 12])
    assert rising(drawn(rounds, np.array([10.0, 16.0, 17.0, 18.0]))) == pytest.approx(1.0)  # 1 dB in 3 of 12 rounds
    assert rising(drawn(rounds, np.array([10.0, 16.0, 19.0, 18.0]))) == pytest.approx(1.0)  # (18 - 16) / 6 a round


def test_two_points_are_too_few() -> None:
    rounds = np.array([6.0, 12])
    assert rising(drawn(rounds, rounds)) is None


# What a score costs


TASKS = {"a": ["T1->T2"], "b": ["T1->T2", "T2->PD", "PD->T1"]}
PUBLISHED = Store(ROOT / "results" / "equal_footing")


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
