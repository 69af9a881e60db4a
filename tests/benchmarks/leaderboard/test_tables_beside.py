"""Tables that differ in one thing, beside each other: the number of training subjects, or the scenario."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support import finished
from support.finished import LEVELS, fill_ranked

from fedsynth.benchmarks.leaderboard.leaderboard import table_views
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.bayes import signed_rank
from fedsynth.benchmarks.tables.views.view import TableView

# By training subjects


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


# Across scenarios: ranks where there are enough independent blocks, else the reason


@pytest.fixture
def blocks(tmp_path: Path) -> Store:
    return Store(tmp_path)


def across(blocks: Store) -> TableView:
    found = table_views(finished_runs(blocks))
    (view,) = [view for view in found if view.title == "Across scenarios"]
    return view


def test_ranks_over_blocks(blocks: Store) -> None:
    fill_ranked(blocks, 6)
    view = across(blocks)
    found = {column.name: column.cells for column in view.columns}
    assert found["method"] == ["fedavg", "fedbn", "local"]
    assert found["mean rank"] == ["1.17", "1.83", "3.00"]
    assert found["mean PSNR"] == ["21.17", "20.73", "19.63"]
    assert found["best at"] == ["0.83", "0.17", "0.00"]
    assert found["near best at"] == ["0.83", "0.33", "0.17"]  # 0.1 dB below in the third block; `local` 0.2 dB
    statistic, p = stats.friedmanchisquare(*LEVELS.values())
    assert f"chi-squared {statistic:.3g}, p = {p:.3g}" in view.caption[1]
    better = [signed_rank(np.subtract(LEVELS[name], LEVELS["local"]), 0.2).better for name in ("fedavg", "fedbn")]
    assert found["P(better)"] == [*(f"{value:.2f}" for value in better), "-"]
    assert view.notes == ()


def test_too_few_blocks_have_no_ranks(blocks: Store) -> None:
    fill_ranked(blocks, 4)
    view = across(blocks)
    assert view.notes == (
        "No mean ranks: 4 blocks (scenarios x data sets); ranks need 5: with fewer, the test's level does not hold.",
    )
    assert not any("rank" in column.name for column in view.columns)


def test_tables_of_one_block_are_not_independent(blocks: Store) -> None:
    fill_ranked(blocks, 5)
    fill_ranked(blocks, 1, rounds=320)
    assert across(blocks).notes[0].startswith("No mean ranks: block variable on set0 is given more than once")


def test_tables_that_are_not_ranked_have_no_mean_ranks(blocks: Store) -> None:
    fill_ranked(blocks, 6, seeds=4)
    found = table_views(finished_runs(blocks))
    assert [view.title for view in found if view.title == "Across scenarios"] == []
