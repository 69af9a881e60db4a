"""A run's tables read by columns, from text or from packed bytes, have the numbers that they have read by rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import finished

from fedsynth.benchmarks.records.record import RecordError, read_curve, read_scores, write_record
from fedsynth.benchmarks.records.score_table import ScoreTable, mean_of_known
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.records.text_table import text_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store, rng = Store(tmp_path), np.random.default_rng(0)
    places = [(site, task) for site, tasks in finished.TASKS.items() for task in tasks]
    return store.folder(
        finished.finish(store, finished.identity(), {place: rng.normal(20, 1, 3).tolist() for place in places})
    )


def repacked(table: ScoreTable) -> ScoreTable:
    return ScoreTable.unpacked(table.run, table.index, list(table.numbers), table.packed())


def test_scores_are_those_of_the_record(folder: Path) -> None:
    path = folder / "scores.csv"
    for selection, without in (("selected", "last"), ("last", ""), ("selected", "")):
        text = ScoreTable.read(path, without)
        for table in (text, repacked(text)):
            found = table.values(selection, ["ssim", "psnr"])
            rows = [row for row in read_scores(folder) if row["selection"] == selection]
            for metric in ("psnr", "ssim"):
                assert found[metric] == {(row["site"], row["task"], row["subject"]): row[metric] for row in rows}
    assert ScoreTable.read(path).values("welcome", ["psnr"]) == {"psnr": {}}
    assert ScoreTable.read(path).values("last", ["psnr"]) == {"psnr": {}}


def test_names_with_commas_and_quotes(tmp_path: Path) -> None:
    store, odd = Store(tmp_path), 'St. "Mary", Leeds'
    scenario = {"sites": [odd], "tasks": {odd: ["T1->T2"]}}
    folder = store.folder(finished.finish(store, finished.identity(scenario=scenario), {(odd, "T1->T2"): [1.5, 2.5]}))
    table = ScoreTable.read(folder / "scores.csv")
    assert table.values("selected", ["psnr"])["psnr"] == {
        (odd, "T1->T2", "test000"): 1.5,
        (odd, "T1->T2", "test001"): 2.5,
    }
    assert table.index.site_tasks == {("selected", odd, "T1->T2"): (0, 1)}
    assert ScoreTable.read(folder / "curve.csv").index.columns["site"] == (odd, odd)


def test_columns_are_those_of_the_curve(folder: Path) -> None:
    table, rows = ScoreTable.read(folder / "curve.csv"), read_curve(folder)
    for name in ("val_psnr", "round", "bytes_up"):
        assert table.column(name) == repacked(table).column(name) == [row[name] for row in rows]
    assert list(table.index.columns["site"]) == [row["site"] for row in rows]


def test_runs_whose_lines_are_named_alike_share_an_index(folder: Path) -> None:
    assert ScoreTable.read(folder / "scores.csv").index is ScoreTable.read(folder / "scores.csv").index


def test_what_is_not_there_is_told(folder: Path) -> None:
    path = folder / "scores.csv"
    with pytest.raises(
        RecordError,
        match=rf"{folder.name}: it was not scored by lpips, which was not installed then; its scores have psnr, .*ssim",
    ):
        ScoreTable.read(path).values("selected", ["psnr", "lpips"])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1], ""]))
    with pytest.raises(RecordError, match="a score of selection selected is there twice"):
        ScoreTable.read(path).values("selected", ["psnr"])


def test_means_leave_out_subjects_without_a_score(tmp_path: Path) -> None:
    nan, store, place = float("nan"), Store(tmp_path), ("ixi", "T1->T2")
    scenario = {"sites": ["ixi"], "tasks": {"ixi": ["T1->T2"]}}
    what = finished.identity(scenario=scenario)
    record = finished.record(what, data=finished.data_of(what, {place: [20.0] * 3}))
    rows = [
        row | {"vif": vif}
        for row, vif in zip(finished.scores(what, {place: [20.0, 21.0, 25.0]}), [0.5, nan, 0.25] * 2, strict=True)
    ]
    store.folder(record.run).mkdir(parents=True)
    write_record(store.folder(record.run), record, rows, finished.curve(what))
    means = ScoreTable.read(store.folder(record.run) / "scores.csv").means()
    assert list(means) == [("selected", *place)]
    assert (means["selected", *place]["psnr"], means["selected", *place]["vif"]) == (22, 0.375)
    assert np.isnan(mean_of_known([nan, nan]))


def test_numbers_are_recognised_below_their_heading() -> None:
    rows = [["site", "PSNR", "1st"], ["a", "9.5", ""], ["longer", "-10.25", "b"]]
    assert text_table(rows) == ["site      PSNR  1st", "a          9.5", "longer  -10.25  b"]


def test_no_row_is_no_line() -> None:
    assert text_table([]) == text_table([], right=(1,)) == []


def test_alignment_that_is_given_counts() -> None:
    assert text_table([["a", "1"], ["bc", "-"]], right=(0,)) == [" a  1", "bc  -"]
