"""docs/adding-a-dataset.md: its files and commands, run as a newcomer would, print what the page shows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from support.checkout import ROOT
from support.console import files, not_shown

PAGE = (ROOT / "docs" / "adding-a-dataset.md").read_text()


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    assert not_shown(PAGE, tmp_path) == {}
    finished = [path.parent.name.rpartition("-")[0] for path in tmp_path.glob("results/runs/*/record.json")]
    assert finished == ["fedavg-common-s0"] * 2


def test_the_entry_point_names_the_class_of_the_page() -> None:
    (declared,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    ((name, target),) = tomllib.loads(declared)["project"]["entry-points"]["fedsynth.datasets"].items()
    module, _, cls = target.partition(":")
    assert module == f"my_package.{name}"
    assert f"class {cls}(Dataset):" in files(PAGE)[f"{name}.py"]
