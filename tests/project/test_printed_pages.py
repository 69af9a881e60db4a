"""The tutorial and the pages on data: their files and commands, run as a newcomer would, print what the pages show."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from support import trees
from support.docs import DocPage, missing
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.contract.options import options
from fedsynth.registry import DATASETS

# The tutorial


TUTORIAL = DocPage("tutorial")


@pytest.mark.slow
def test_every_command_of_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    assert TUTORIAL.not_shown(tmp_path) == {}


def test_a_line_that_is_not_printed_is_found() -> None:
    told = ["method  PSNR", "local  17.77", "fedavg-common-s0-a1199f6cf4d6  done", "...", "Verdict: none"]
    assert missing(told, ["method PSNR", "fedavg-common-s3-000000000000 done", "local -2"]) == []
    assert missing(told, ["method PSNR", "fedavg 1", "local 3"]) == ["fedavg-common-s0-a1199f6cf4d6  done"]


# Adding a data set


ADDING = DocPage("adding-a-dataset")


@pytest.mark.slow
def test_every_command_for_a_new_data_set_prints_what_its_page_shows(tmp_path: Path) -> None:
    assert ADDING.not_shown(tmp_path) == {}
    finished = [path.parent.name.rpartition("-")[0] for path in tmp_path.glob("results/runs/*/record.json")]
    assert finished == ["fedavg-common-s0"] * 2


def test_the_entry_point_names_the_class_of_the_page() -> None:
    ((name, target),) = tomllib.loads(ADDING.block("toml"))["project"]["entry-points"]["fedsynth.datasets"].items()
    module, _, cls = target.partition(":")
    assert module == f"my_package.{name}"
    assert f"class {cls}(Dataset):" in ADDING.files[f"{name}.py"]


# Folders of volumes: docs/data.md


DATA = DocPage("data")


@pytest.mark.slow
def test_every_command_for_a_folder_of_volumes_prints_what_its_page_shows(tmp_path: Path) -> None:
    trees.folder(tmp_path / "data", sites=("north", "south"))
    assert DATA.not_shown(tmp_path) == {}
    assert {path.name for path in (tmp_path / "prepared" / "mine" / "sheets").iterdir()} == {
        "north-1.png",
        "south-1.png",
    }
    assert len(list(tmp_path.glob("results/runs/*/record.json"))) == 1


def test_every_layout_is_in_its_table() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", DATA.text, re.MULTILINE))
    known = {path.stem for path in (ROOT / "conf" / "dataset").glob("*.yaml")}
    assert told == known | (set(DATASETS.entries()) - {"layout", "phantom", "prepared"})


def test_every_option_that_it_names_exists() -> None:
    """Of a data set or, as `dataset.chain.size`, of a part of one."""
    known = {option.name for entry in DATASETS.entries().values() for option in options(entry.cls)}
    named = set(re.findall(r"(?<![\w/-])dataset\.(\w+(?:\.\w+)?)", DATA.text))
    named -= {"json", "chain"}  # a file, and dataset.chain.*
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
