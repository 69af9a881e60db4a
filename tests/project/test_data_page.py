"""docs/data.md: its commands run on a folder of the form that it describes, and it names every layout."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support import trees
from support.checkout import ROOT
from support.console import not_shown

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.contract.options import options
from fedsynth.registry import DATASETS

PAGE = (ROOT / "docs" / "data.md").read_text("utf-8")


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    trees.folder(tmp_path / "data", sites=("north", "south"))
    assert not_shown(PAGE, tmp_path) == {}
    assert {path.name for path in (tmp_path / "prepared" / "mine" / "sheets").iterdir()} == {
        "north-1.png",
        "south-1.png",
    }
    assert len(list(tmp_path.glob("results/runs/*/record.json"))) == 1


def test_every_layout_is_in_its_table() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    known = {path.stem for path in (ROOT / "conf" / "dataset").glob("*.yaml")}
    assert told == known | (set(DATASETS.entries()) - {"layout", "phantom", "prepared"})


def test_every_option_that_it_names_exists() -> None:
    """Of a data set or, as `dataset.chain.size`, of a part of one."""
    known = {option.name for entry in DATASETS.entries().values() for option in options(entry.cls)}
    named = set(re.findall(r"(?<![\w/-])dataset\.(\w+(?:\.\w+)?)", PAGE)) - {
        "json",
        "chain",
    }  # a file, and dataset.chain.*
    assert {"on_error", "chain.register", "contrast_names"} <= named
    assert named - known == set()


def test_what_it_says_of_subjects_and_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A subject that lacks a contrast stops a preparation, may be skipped or excluded; a table replaces the draw of splits."""
    trees.folder(tmp_path / "données", 5, ("north", "south"))
    (tmp_path / "données" / "north" / "p0" / "T1.nii.gz").unlink()
    monkeypatch.chdir(tmp_path)
    small = [f"dataset.chain.{option}={value}" for option, value in trees.SMALL.items()]

    def prepared(*words: str, status: int = 0) -> str:
        assert main(["prepare", "dataset=folder", "données", *small, *words]) == status
        told = capsys.readouterr()
        return told.err if status else told.out

    assert "1 subject cannot be used:\n  site north, subject p0: " in prepared(status=2)
    assert not (tmp_path / "prepared").exists()
    assert "1 left out:\n  site north, subject p0: " in prepared("dataset.on_error=skip", "--out", "skipped")
    assert '"p0"' in (tmp_path / "skipped" / "names.json").read_text()
    assert "south" not in prepared("dataset.exclude=[p0,south/*]", "--out", "excluded")
    splits = (tmp_path / "skipped" / "splits.csv").read_text()
    assert splits.startswith("site,subject,split\n")
    moved = splits.replace("val", "other").replace("test", "val").replace("other", "test")
    (tmp_path / "moved").mkdir()
    shutil.copy(tmp_path / "skipped" / "names.json", tmp_path / "moved")
    (tmp_path / "mine.csv").write_text(moved)
    shutil.copy(tmp_path / "skipped" / "names.json", tmp_path)
    prepared("dataset.on_error=skip", "dataset.splits=mine.csv", "--out", "moved")
    assert sorted((tmp_path / "moved" / "splits.csv").read_text().split()) == sorted(moved.split())
