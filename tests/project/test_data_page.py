"""docs/data.md: its commands run on a folder of the form that it describes, and it names every layout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import trees
from support.checkout import ROOT
from support.console import not_shown

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
