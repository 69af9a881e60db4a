"""The rule for ranks: a table that meets every condition is ranked, and each condition alone takes the ranks away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from support import finished

from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.rank_rule import pairs_that_differ, rank_intervals
from fedsynth.benchmarks.tables.table import Table, tables

LEVELS = {"best": 24.0, "level": 22.01, "alike": 22.0, "worst": 20.0}
ROUNDS = {"rounds": 80}


def put(
    store: Store,
    levels: Mapping[str, float] = LEVELS,
    seeds: int = 5,
    curve: Sequence[float] | None = None,
    trainer: Mapping[str, Any] = ROUNDS,
    subjects: Mapping[str, int] = MappingProxyType({}),
    **facts: Any,
) -> None:
    """Rows that are known to 0.1 dB. A row's curve is its level with `curve` added."""
    for method, level in levels.items():
        for seed in range(seeds):
            what = finished.identity(method={"name": method}, trainer=trainer, seed=seed)
            random = np.random.default_rng([seed, len(method), ord(method[0])])
            wiggle = 0.02 * random.normal(size=20) + 0.05 * random.normal()
            places = {
                (site, task): list(level + wiggle[: subjects.get(site)])
                for site, own in finished.TASKS.items()
                for task in own
            }
            shape = curve or (-1.0, *[0.0] * 7)
            rows = finished.settled(what, [level + wiggle[0] + value for value in shape])
            finished.finish(store, what, places, rows, validation_psnr=level, **facts)


def made(store: Store) -> Table:
    """The table of the shortest runs."""
    return min(tables(finished_runs(store)), key=lambda table: table.record.identity["trainer"]["rounds"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_ranks_are_intervals(store: Store) -> None:
    put(store)
    table = made(store)
    assert table.not_ranked == ()
    assert [(row.method, row.rank) for row in table.rows] == [
        ("best", (1, 1)),
        ("alike", (2, 3)),
        ("level", (2, 3)),
        ("worst", (4, 4)),
    ]
    first, second = (row.scores["psnr"].mean for row in table.rows[:2])
    assert table.headline == (
        f"best has the best PSNR with {first:.2f} dB, {first - second:.2f} ahead of alike, and every other row is "
        "shown to be worse: that is settled."
    )


def test_rows_whose_means_are_printed_alike_are_level(store: Store) -> None:
    """They stand in the order of their names, though the second is ahead by less than is printed."""
    for method, score in (("avg", 20.001), ("bn", 20.004)):
        finished.finish(store, finished.identity(method={"name": method}), score)
    assert "avg has the best PSNR with 20.00 dB, level with bn" in made(store).headline


def test_fewer_than_five_seeds(store: Store) -> None:
    put(store, seeds=4)
    table = made(store)
    assert table.not_ranked == ("4 of 5 seeds, so no significance is drawn",)
    assert {row.rank for row in table.rows} == {None}
    assert "it is not settled (4 of 5 seeds, so no significance is drawn)" in table.headline


@pytest.mark.parametrize(("rise", "ranked"), [(0.04, True), (0.06, False)])
def test_a_row_that_rises(store: Store, rise: float, ranked: bool) -> None:
    """A quarter of the rounds is two steps of the curve."""
    put(store, curve=[rise * step for step in range(8)])
    table = made(store)
    assert (table.not_ranked == ()) is ranked
    assert ("rising" not in table.rows[0].flags) is ranked
    if not ranked:
        assert table.not_ranked[0].startswith("4 of 4 rows still rise or may (most: ")


def test_a_rise_within_the_interval_of_the_row_is_none(store: Store) -> None:
    put(store, {"best": 24.0}, curve=[0.06 * step for step in range(8)])
    for seed in range(5):  # known to 1 dB
        what = finished.identity(method={"name": "wide"}, trainer=ROUNDS, seed=seed)
        finished.finish(store, what, 20.0 + 0.5 * seed, finished.settled(what, [19 + 0.06 * step for step in range(8)]))
    assert {row.method: row.still_rises for row in made(store).rows} == {"best": True, "wide": False}


def test_a_rise_counts_with_two_of_its_standard_errors(store: Store) -> None:
    for method, rises in (("sure", [0.08] * 5), ("unsure", [0.0, 0.2, 0.0, 0.2, 0.0])):
        for seed, rise in enumerate(rises):
            what = finished.identity(method={"name": method}, trainer=ROUNDS, seed=seed)
            finished.finish(store, what, 20.0, finished.settled(what, [19 + rise / 2 * step for step in range(8)]))
    assert {row.method: row.still_rises for row in made(store).rows} == {"sure": False, "unsure": True}


def test_a_core_method_trains_on_with_a_schedule_of_its_own(store: Store) -> None:
    put(store, {"fedavg": 22.0, "other": 20.0})
    assert made(store).not_ranked == ("no run with twice the rounds of fedavg",)
    put(store, {"fedavg": 22.09}, seeds=1, trainer={"rounds": 160})
    assert made(store).not_ranked == ()


def test_twice_the_rounds_that_change_a_core_method(store: Store) -> None:
    put(store, {"fedavg": 22.0, "other": 20.0})
    put(store, {"fedavg": 22.11}, seeds=2, trainer={"rounds": 160})
    assert made(store).not_ranked == ("twice the rounds change fedavg/resnet by +0.11 dB",)


def test_other_pairs_at_three_quarters_of_the_rounds(store: Store) -> None:
    put(store, {"early": 22.0}, curve=[0.0] * 8)
    put(store, {"late": 23.0}, curve=[-1.5] * 6 + [0.0, 0.0])
    found = made(store).not_ranked
    assert "1 of 1 pairs are told apart otherwise at three quarters of the rounds than at the end" in found


def test_a_row_below_the_look_up_table(store: Store) -> None:
    put(store, LEVELS | {"low": 18.0})
    table = made(store)
    assert table.not_ranked == ("1 of 5 rows are below the look-up table, which needs no training",)
    assert table.rows[-1].flags == ("below look-up table",)


def test_where_no_row_reaches_the_look_up_table_nobody_leads(store: Store) -> None:
    put(store, {"a": 17.0, "b": 16.0})
    assert made(store).headline.startswith(
        "Nobody leads: no row reaches the look-up table, which needs no training; a has"
    )


def test_too_few_subjects(store: Store) -> None:
    few = finished.SIZES | {"test": [19, 152], "val": [4, 32]}
    data = finished.record(finished.identity()).data | {"subjects_and_slices": {"ixi": finished.SIZES, "oasis": few}}
    put(store, data=data, subjects={"oasis": 19})
    assert made(store).not_ranked == ("a site has 19 of 20 test subjects", "a site has 4 of 5 validation subjects")


def test_a_row_with_a_diverged_seed_has_no_rank(store: Store) -> None:
    put(store, {"a": 22.0, "b": 20.0})
    put(store, {"c": 21.0}, seeds=4)
    what = finished.identity(method={"name": "c"}, trainer=ROUNDS, seed=4)
    places = {(site, task): [15.0] * 20 for site, own in finished.TASKS.items() for task in own}
    finished.finish(store, what, places, finished.settled(what), status="diverged")
    assert {row.method: row.rank for row in made(store).rows} == {"a": (1, 1), "b": (2, 2), "c": None}


def test_rank_intervals_by_hand() -> None:
    better = np.zeros((3, 3), bool)
    better[0, 2] = True
    assert rank_intervals(better) == [(1, 2), (1, 3), (2, 3)]


def test_pairs_that_differ_have_a_sign() -> None:
    scores = np.array([[3.0, 3.1, 2.9, 3.0, 3.05], [1.0, 1.1, 1.0, 0.9, 1.0], [1.05, 1.0, 1.02, 0.95, 0.98]])
    assert pairs_that_differ(scores).tolist() == [[0, 1, 1], [-1, 0, 0], [-1, 0, 0]]
    assert pairs_that_differ(np.array([[2.0] * 5, [1.0] * 5, [1.0] * 5])).tolist() == [
        [0, 1, 1],
        [-1, 0, 0],
        [-1, 0, 0],
    ]
