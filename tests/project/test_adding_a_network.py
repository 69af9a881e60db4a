"""docs/adding-a-network.md does what it says: its file is a network, its commands run, its package is found, its names exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from support.docs import DocPage, run

from fedsynth.networks import blocks
from fedsynth.networks.network import Network, Role

PAGE = DocPage("adding-a-network")

PUBLISHED_WITH = '''"""FedAvg, published with DnCNN."""

from dataclasses import dataclass
from typing import ClassVar

from fedsynth.method import Method


@dataclass
class Yours(Method):
    """FedAvg."""

    published: ClassVar[str] = "dncnn"
'''


def names(column: list[list[str]]) -> set[str]:
    """The words in backticks in the first cells of a table."""
    return {name for cells in column for name in re.findall(r"`(\w+)", cells[0])}


@pytest.mark.slow
def test_the_file_and_the_commands(tmp_path: Path) -> None:
    """As a newcomer types them: the network is listed with its options, run, varied and ranked."""
    (tmp_path / "dncnn.py").write_text(PAGE.block("python"))
    printed = run(tmp_path, PAGE.commands())
    assert re.search(r"^  dncnn +DnCNN \(Zhang et al., IEEE TIP 2017\): a chain .*dncnn\.py\]$", printed, re.MULTILINE)
    assert "  network.layers=15  (int)\n      between the first convolution and the last\n" in printed
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 3
    for row in ("fedmri +dncnn condition=site_task", "fedmri +dncnn", "fedavg +dncnn layers=15"):
        assert re.search(rf"^{row} +\d", printed, re.MULTILINE), printed


@pytest.mark.slow
def test_check_tries_a_method_on_the_network_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "dncnn.py").write_text(PAGE.block("python"))
    (tmp_path / "yours.py").write_text(PUBLISHED_WITH)
    printed = run(tmp_path, "fedsynth check yours", FEDSYNTH_PLUGINS="dncnn.py:yours.py")
    assert "ok" in printed
    assert "broken" not in printed


def test_the_package(tmp_path: Path) -> None:
    assert PAGE.install(tmp_path, "fedsynth.networks") == "dncnn = my_package.dncnn:DnCNN"
    printed = run(tmp_path, "fedsynth list networks")
    assert re.search(r"^  dncnn .*\[my_package 1\.0 \(my_package\.dncnn:DnCNN\)\]$", printed, re.MULTILINE)


def test_every_role_attribute_and_option_is_listed() -> None:
    assert names(PAGE.table("role")) == {role.name for role in Role}
    public = {name for name in vars(Network) if not name.startswith("_")}
    options = {option.name for option in fields(Network)}
    assert names(PAGE.table("option")) == options
    assert names(PAGE.table("attribute")) == public - options


def test_the_blocks_that_it_names_exist() -> None:
    rules = PAGE.text[PAGE.text.index("## Rules") :]
    named = re.findall(r"`([A-Z]\w+|\w+_\w+)(?=[`(])", rules)
    assert named == ["Dropout", "ReflectionPad", "check_size"]
    assert all(hasattr(blocks, name) for name in named)
