"""Tables that differ in their number of training subjects, beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import finished

from fedsynth.benchmarks.leaderboard.leaderboard import table_views
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store

SITES = {"a": ["T1->T2"], "b": ["T1->T2"]}


def put(store: Store, method: str, count: int, seed: int, psnr: float) -> None:
    scenario = {"name": "scarce", "sites": sorted(SITES), "tasks": SITES, "train_subjects": dict.fromkeys(SITES, count)}
    what = finished.identity(method={"name": method}, seed=seed, scenario=scenario)
    sizes = finished.SIZES | {"train": [count, 8 * count], "test": [3, 24]}
    data = finished.record(what).data | {"subjects_and_slices": dict.fromkeys(SITES, sizes)}
    values = [psnr - 1, psnr, psnr + 1]
    finished.finish(store, what, {(site, "T1->T2"): values for site in SITES}, data=data)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for seed in range(5):
        wiggle = 0.01 * (-1) ** seed
        for count, gain in ((1, 1.0), (2, 0.0), (8, -1.0)):
            put(store, "local", count, seed, 20 + count)
            put(store, "fedavg", count, seed, 20 + count + gain + wiggle)
    return store


def test_where_federation_begins_to_pay(store: Store) -> None:
    found = table_views(finished_runs(store))
    (view,) = [view for view in found if view.title == "scarce on phantom: by training subjects"]
    cells = {column.name: column.cells for column in view.columns}
    assert cells["method"] == ["local", "fedavg", "copied source"]  # as with the most subjects
    assert cells["1"] == ["21.00", "22.00", "11.00"]
    assert cells["8"] == ["28.00", "27.00", "11.00"]
    assert [cells[f"{count} gain"][1] for count in (1, 2, 8)] == ["1.00", "0.00", "-1.00"]
    assert cells["beats local at"] == ["-", "-", "-"]  # the look-up table of as many subjects was not recorded


def test_one_table_is_no_curve(store: Store) -> None:
    runs = finished_runs(store)
    few = [run for run in runs if run.record.identity["scenario"]["train_subjects"]["a"] == 1]
    assert [view.title for view in table_views(few) if view.shown] == [
        "scarce on phantom",
        "scarce on phantom: PSNR by site and task",
    ]
