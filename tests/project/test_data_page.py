"""docs/data.md: its commands run on a folder of the form that it describes, and it names every layout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import trees
from support.checkout import ROOT

from fedsynth.registry import DATASETS

PAGE = (ROOT / "docs" / "data.md").read_text("utf-8")


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    trees.folder(tmp_path / "data", sites=("north", "south"))
    (block,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [line.removeprefix("$ fedsynth ") for line in block.splitlines()]
    said = []
    for command in commands:
        done = subprocess.run(
            f'"{sys.executable}" -m fedsynth.benchmarks.cli {command}',
            shell=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "16 volumes, 8 complete subjects" in said[0]
    assert "To use it: dataset=prepared 'dataset.folders=[prepared/mine]'" in said[1]
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 1


def test_every_layout_is_in_its_table() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    known = {path.stem for path in (ROOT / "conf" / "dataset").glob("*.yaml")}
    assert told == known | (set(DATASETS.entries()) - {"layout", "phantom", "prepared"})
