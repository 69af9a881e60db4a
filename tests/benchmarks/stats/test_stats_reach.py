"""What a score costs, on curves written by hand and on those of kept runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.checkout import ROOT

from fedsynth.benchmarks.records.record import Rows, read_curve, read_record
from fedsynth.benchmarks.stats.reach import NUMBERS, Curve, at_traffic, equal_traffic, reach
from fedsynth.benchmarks.stats.scores import StatsError

TASKS = {"a": ["T1->T2"], "b": ["T1->T2", "T2->PD", "PD->T1"]}
SMOKE = ROOT / "results" / "smoke"


def curve_rows(site: str, psnr: list[float], sent: float) -> list[dict[str, Any]]:
    return [
        {"round": number + 1.0, "site": site, "val_psnr": value, "bytes_up": sent, "bytes_down": 2 * sent}
        for number, value in enumerate(psnr)
    ]


def made(rows: Rows, tasks: dict[str, list[str]]) -> Curve:
    """Of the columns of these rows."""
    return Curve.of([row["site"] for row in rows], {name: [row[name] for row in rows] for name in NUMBERS}, tasks)


@pytest.fixture
def curve() -> Curve:
    nan = np.nan
    rows = curve_rows("a", [nan, 10, nan, 20, nan, 18], 100) + curve_rows("b", [nan, 14, nan, 16, nan, 22], 10)
    return made(rows, TASKS)


def test_a_site_counts_by_its_tasks(curve: Curve) -> None:
    assert curve.rounds.tolist() == [2, 4, 6]
    assert curve.psnr.tolist() == [13, 17, 21]
    assert curve.traffic.tolist() == [660, 1320, 1980]  # 330 a round, those without validation too


def test_rounds_and_bytes_to_reach(curve: Curve) -> None:
    assert (reach(curve, 17).round, reach(curve, 17).traffic) == (4, 1320)
    assert (reach(curve, 17.1).round, reach(curve, 17.1).traffic) == (6, 1980)
    never = reach(curve, 21.1)
    assert np.isnan([never.round, never.traffic]).all()


def test_quality_at_equal_bytes(curve: Curve) -> None:
    assert [at_traffic(curve, budget) for budget in (660, 1319, 1320, 1e9)] == [13, 13, 17, 21]
    assert np.isnan(at_traffic(curve, 659))
    falls = Curve(np.array([1.0, 2]), np.array([30.0, 20]), np.array([400.0, 1400]))
    silent = made(curve_rows("a+b", [15, 16], 0), TASKS)  # pooled: one row for all, nothing sent
    assert equal_traffic({"curve": curve, "falls": falls, "silent": silent}) == {"curve": 17, "falls": 30, "silent": 16}
    assert equal_traffic({"silent": silent}) == {"silent": 16}


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(StatsError, match="round 1 was not validated at b"):
        made(curve_rows("a", [10], 1), TASKS)
    with pytest.raises(StatsError, match="2 rounds, none of them validated"):
        made(curve_rows("a+b", [np.nan, np.nan], 1), TASKS)


def test_the_best_round_of_a_kept_run_is_the_selected_one() -> None:
    folders = sorted(path.parent for path in SMOKE.glob("*/runs/*/record.json"))[::20]
    assert len(folders) > 5
    for folder in folders:
        record = read_record(folder)
        if record.status == "done":
            curve = made(read_curve(folder), record.identity["scenario"]["tasks"])
            assert curve.psnr.max() == pytest.approx(record.validation_psnr, abs=1e-9), folder.name
            assert curve.rounds[curve.psnr.argmax()] == record.selected_round
            assert curve.traffic[-1] == record.costs["bytes_up"] + record.costs["bytes_down"]
