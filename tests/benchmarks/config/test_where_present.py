"""`where_present` sets options of whatever is chosen, and yields to everything that is set explicitly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsynth.benchmarks.config.compose import composed
from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.config.explain import explained
from fedsynth.benchmarks.config.grid import cells
from fedsynth.benchmarks.config.schema import Run, register

register()
DEMO = ["experiment=demo", "network=resnet"]  # where_present.network has blocks=3; the class has 9


def network(*words: str) -> Any:
    with explained():
        return Run.of(composed(words)).network


def test_a_network_takes_the_options_that_it_has() -> None:
    unet, resnet = (network("experiment=demo", f"network={name}") for name in ("unet", "resnet"))
    assert (unet.width, unet.pools) == (8, 3)
    assert (resnet.width, resnet.blocks, resnet.dropout) == (8, 3, 0.0)
    assert network("network=unet").pools == 4


@pytest.mark.parametrize("blocks", [3, 5, 9])
def test_what_is_set_explicitly_counts_also_where_it_is_the_class_s_default(blocks: int) -> None:
    found = network(*DEMO, f"network.blocks={blocks}")
    assert (found.blocks, found.dropout) == (blocks, 0.0)


def test_the_network_of_a_method_takes_them_too_and_keeps_the_norm_that_the_method_needs() -> None:
    words = ["method=silobn", "+where_present.network.norm=instance", "+where_present.network.blocks=2"]
    found = network(*words)
    assert (found.norm.name, found.blocks) == ("batch", 2)


def test_a_name_counts_before_its_group_and_a_list_is_one_value() -> None:
    both = ["+where_present.network.width=4", "+where_present.resnet.width=2"]
    assert (network("network=resnet", *both).width, network("network=unet", *both).width) == (2, 4)
    few = ["+where_present.restormer={depths: [1, 1], heads: [1, 2]}"]
    assert network("network=restormer", *few).depths == [1, 1]


def experiment(folder: Path, **content: Any) -> list[str]:
    """The overrides that choose an experiment of this content, on top of `demo`."""
    file = folder / "experiment" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("# @package _global_\n" + yaml.safe_dump({"defaults": ["demo", "_self_"], **content}))
    return ["experiment=mine", "network=resnet", f"hydra.searchpath=[file://{folder}]"]


def test_a_line_of_the_experiment_counts_before_where_present(tmp_path: Path) -> None:
    assert network(*experiment(tmp_path, network={"blocks": 9})).blocks == 9


def test_every_value_of_a_grid_is_a_cell_of_its_own(tmp_path: Path) -> None:
    assert [cell.identity["network"]["blocks"] for cell in cells([*DEMO, "network.blocks=3,9"])] == [3, 9]
    found = cells(experiment(tmp_path, grids=[{"network.blocks": [9, 3, 1]}]))
    assert [cell.identity["network"]["blocks"] for cell in found] == [9, 3, 1]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("network.bloks=3", "where_present.network.bloks: no network has this option; the nearest: blocks"),
        (
            "unett.pools=3",
            "where_present.unett: no group and no choice of one has this name; the nearest: unet",
        ),
        ("unet.blocks=3", "where_present.unet.blocks: no unet has this option"),
        ("layout.chain={size: 32}", "where_present.layout.chain: this option has entries"),
    ],
)
def test_what_nothing_has_is_refused(word: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        network("network=resnet", f"+where_present.{word}")


@pytest.mark.parametrize("word", ["blocks=many", "blocks=null", "norm=batches", "depths=[a]"])
def test_values_are_checked_as_if_they_were_set_explicitly(word: str) -> None:
    with pytest.raises(OptionError, match=word.partition("=")[0]):
        network("network=restormer" if "depths" in word else "network=resnet", f"+where_present.network.{word}")
