"""Reference lines against means worked by hand: from old records, which have PSNR floors, and from those that have everything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import finished

from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.reference_lines import FLOORS, LINES
from fedsynth.benchmarks.tables.row import Score
from fedsynth.benchmarks.tables.table import Table, tables
from fedsynth.benchmarks.tables.views.columns import columns

PLACES = [(site, task) for site, own in finished.TASKS.items() for task in own]
SIZES = {"size": [64, 64], "subjects_and_slices": dict.fromkeys(finished.TASKS, finished.SIZES)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def only(store: Store, selection: str = "selected", metric: str = "psnr") -> Table:
    (table,) = tables(finished_runs(store), selection, metric)
    return table


def lines(table: Table) -> dict[str, Mapping[str, Score]]:
    return {line.name: line.scores for line in table.lines}


def recorded(name: str, scores: list[dict[str, float | None]], selection: str = "selected") -> list[dict[str, Any]]:
    """What a new record says of a line: the scores of each site-task."""
    places = zip(PLACES, scores, strict=True)
    return [
        {"line": LINES[name], "selection": selection, "site": site, "task": task, "subjects": 20, "scores": own}
        for (site, task), own in places
    ]


def test_old_records_have_psnr_floors_and_no_ceiling(store: Store) -> None:
    for seed in (0, 1):
        finished.finish(store, finished.identity(seed=seed))
    found = lines(only(store))
    assert tuple(found) == tuple(LINES) == ("copied source", "mean training image", "look-up table", "noise ceiling")
    assert [found[name]["psnr"].mean for name in FLOORS] == [11.0, 15.5, 18.25]
    assert found["look-up table"]["psnr"] == Score(18.25, 0.0, dict.fromkeys(PLACES, 18.25), subjects=60)
    assert all(list(found[name]) == ["psnr"] for name in FLOORS)
    assert found["noise ceiling"] == {}


def test_the_lines_of_a_table_are_of_what_it_scores(store: Store) -> None:
    scenario = {"poisoned": ["oasis"]}
    psnr = {("ixi", "T1->T2"): [20.0, 22.0]}
    what = finished.identity(scenario=scenario)
    folder = store.folder(finished.record(what).run)
    folder.mkdir(parents=True)
    rows = [row for row in finished.scores(what) if row["site"] == "ixi"]
    finished.write_record(folder, finished.record(what), rows, finished.curve(what))
    assert list(lines(only(store))["look-up table"]["psnr"].site_tasks) == list(psnr)


@pytest.mark.parametrize(
    ("option", "left"),
    [
        ({"train_subjects": {"ixi": 1}}, ["copied source"]),
        ({"shift": {"ixi": 2}}, ["copied source"]),
        ({"normalise": {"ixi": "zscore"}}, []),
    ],
)
def test_old_floors_of_other_training_data_are_not_shown(store: Store, option: dict[str, Any], left: list[str]) -> None:
    finished.finish(store, finished.identity(scenario=option), 18.0)
    table = only(store)
    assert [name for name, scores in lines(table).items() if scores] == left
    assert table.rows[0].below_lookup is None


def test_new_records_have_every_metric_of_every_seed(store: Store) -> None:
    for seed, add in ((0, 0.0), (1, 2.0)):
        known = [
            {"psnr": value + add, "ssim": 0.5, "psnr_lesion": None, "of_a_stranger": 1.0}
            for value in (17.0, 19.0, 24.0)
        ]
        known[1]["psnr_lesion"] = 12.0
        told = [*recorded("look-up table", known), *recorded("noise ceiling", [{"psnr": 45.0}] * 3)]
        told += recorded("look-up table", [{"psnr": 10.0}] * 3, "adapted-1")
        finished.finish(store, finished.identity(seed=seed), data=SIZES | {"reference_lines": told})
    found = lines(only(store))
    assert found["look-up table"]["psnr"].mean == 21  # 20 and 22
    assert found["look-up table"]["psnr"].sd == pytest.approx(2**0.5)
    assert found["look-up table"]["psnr"].site_tasks == dict(zip(PLACES, (18, 20, 25), strict=True))
    assert found["look-up table"]["ssim"].mean == 50  # SSIM is shown in hundredths
    assert found["look-up table"]["psnr_lesion"].site_tasks == {PLACES[1]: 12}
    assert found["noise ceiling"]["psnr"].mean == 45
    assert "of_a_stranger" not in found["look-up table"]  # nobody here can say how it is shown
    assert (found["copied source"], found["mean training image"]) == ({}, {})
    assert only(store, "last").lines == only(store).lines


def test_of_a_seed_the_record_is_asked_that_knows_most(store: Store) -> None:
    told = recorded("noise ceiling", [{"psnr": 45.0}] * 3)
    finished.finish(store, finished.identity(method={"name": "new"}), data=SIZES | {"reference_lines": told})
    finished.finish(store, finished.identity(method={"name": "old"}))
    assert lines(only(store))["noise ceiling"]["psnr"].mean == 45


def test_a_row_is_below_the_look_up_table_by_the_metric_that_orders_the_table(store: Store) -> None:
    told = recorded("look-up table", [{"psnr": 20.0, "nmse": 0.2}] * 3)
    for name, psnr, nmse in (("a", 20.0, 0.3), ("b", 19.9, 0.1), ("c", 20.1, 0.2)):
        what = finished.identity(method={"name": name})
        folder = store.folder(finished.record(what).run)
        folder.mkdir(parents=True)
        rows = [row | {"nmse": nmse} for row in finished.scores(what, psnr)]
        found = finished.record(what, data=SIZES | {"reference_lines": told})
        finished.write_record(folder, found, rows, finished.curve(what))
    assert {row.method: row.below_lookup for row in only(store).rows} == {"a": False, "b": True, "c": False}
    by_nmse = {row.method: row.below_lookup for row in only(store, metric="nmse").rows}
    assert by_nmse == {"a": True, "b": False, "c": False}  # less is better
    by_ssim = {row.method: row.below_lookup for row in only(store, metric="ssim").rows}
    assert by_ssim == {"a": False, "b": True, "c": False}  # not recorded, so by PSNR


def test_a_gain_of_a_row_below_the_look_up_table_has_no_mark(store: Store) -> None:
    for method, psnr in {"local": 16.0, "low": 17.0, "high": 20.0}.items():
        for seed in range(5):
            finished.finish(store, finished.identity(method={"name": method}, seed=seed), psnr + 0.01 * seed)
    table = only(store)
    gains = [row.statistics.gain for row in table.rows if row.statistics]
    assert [gain and gain.significant for gain in gains] == [True, True, None]
    (column,) = [column for column in columns(table) if column.name == "gain"]
    assert column.marks == ("*", "", "")


def test_a_row_with_a_missing_seed_is_neither_above_nor_below(store: Store) -> None:
    for seed in (0, 1):
        finished.finish(store, finished.identity(method={"name": "a"}, seed=seed), 18.0)
    finished.finish(store, finished.identity(method={"name": "b"}), 18.0)
    assert {row.method: row.below_lookup for row in only(store).rows} == {"a": True, "b": None}
