"""Validation curves: how they are averaged over site-tasks and seeds, over rounds, bytes and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from support import finished

from fedsynth.benchmarks.records.finished import FinishedRun
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.sections import POINTS, curve_points
from fedsynth.benchmarks.stats.validation_curve import CurveOverSeeds, ValidationCurve

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
