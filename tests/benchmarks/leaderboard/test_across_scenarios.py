"""All tables together: ranks where there are enough independent blocks, else the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from support.ranked import LEVELS, fill_ranked

from fedsynth.benchmarks.leaderboard.leaderboard import table_views
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.bayes import signed_rank
from fedsynth.benchmarks.tables.views.view import TableView


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def across(store: Store) -> TableView:
    found = table_views(finished_runs(store))
    (view,) = [view for view in found if view.title == "Across scenarios"]
    return view


def test_ranks_over_blocks(store: Store) -> None:
    fill_ranked(store, 6)
    view = across(store)
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


def test_too_few_blocks_have_no_ranks(store: Store) -> None:
    fill_ranked(store, 4)
    view = across(store)
    assert view.notes == (
        "No mean ranks: 4 blocks (scenarios x data sets); ranks need 5: with fewer, the test's level does not hold.",
    )
    assert not any("rank" in column.name for column in view.columns)


def test_tables_of_one_block_are_not_independent(store: Store) -> None:
    fill_ranked(store, 5)
    fill_ranked(store, 1, rounds=320)
    assert across(store).notes[0].startswith("No mean ranks: block variable on set0 is given more than once")


def test_tables_that_are_not_ranked_have_no_mean_ranks(store: Store) -> None:
    fill_ranked(store, 6, seeds=4)
    found = table_views(finished_runs(store))
    assert [view.title for view in found if view.title == "Across scenarios"] == []
