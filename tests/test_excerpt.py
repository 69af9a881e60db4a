"""Reading a part of a run's tables says what reading all of them says."""

from __future__ import annotations

from pathlib import Path

import finished
import numpy as np
import pytest

from fedsynth.benchmarks.excerpt import read_columns, read_values
from fedsynth.benchmarks.records import RecordError, read_curve, read_scores
from fedsynth.benchmarks.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store, rng = Store(tmp_path), np.random.default_rng(0)
    places = [(site, task) for site, tasks in finished.TASKS.items() for task in tasks]
    return store.folder(
        finished.finish(store, finished.identity(), {place: rng.normal(20, 1, 3).tolist() for place in places})
    )


def test_scores_are_those_of_the_record(folder: Path) -> None:
    for selection in ("selected", "last"):
        found = read_values(folder, selection, ["ssim", "psnr"])
        rows = [row for row in read_scores(folder) if row["selection"] == selection]
        for metric in ("psnr", "ssim"):
            assert found[metric] == {(row["site"], row["task"], row["subject"]): row[metric] for row in rows}
    assert read_values(folder, "welcome", ["psnr"]) == {"psnr": {}}


def test_names_with_commas_and_quotes(tmp_path: Path) -> None:
    store, odd = Store(tmp_path), 'St. "Mary", Leeds'
    scenario = {"sites": [odd], "tasks": {odd: ["T1->T2"]}}
    folder = store.folder(finished.finish(store, finished.identity(scenario=scenario), {(odd, "T1->T2"): [1.5, 2.5]}))
    assert read_values(folder, "selected", ["psnr"])["psnr"] == {
        (odd, "T1->T2", "test000"): 1.5,
        (odd, "T1->T2", "test001"): 2.5,
    }
    assert [row["site"] for row in read_columns(folder / "curve.csv", ["site", "round"])] == [odd, odd]


def test_columns_are_those_of_the_curve(folder: Path) -> None:
    names = ["site", "val_psnr", "round"]
    assert read_columns(folder / "curve.csv", names) == [
        {name: row[name] for name in names} for row in read_curve(folder)
    ]


def test_what_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(
        RecordError, match=rf"{folder.name}: its scores have no lpips, which came later; they have psnr, ssim"
    ):
        read_values(folder, "selected", ["psnr", "lpips"])
    path = folder / "scores.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1], ""]))
    with pytest.raises(RecordError, match="a score of selection selected is there twice"):
        read_values(folder, "selected", ["psnr"])
