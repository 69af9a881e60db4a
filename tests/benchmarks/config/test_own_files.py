"""Experiments, scenarios, data sets and tuned options of one's own are found in ./conf or where FEDSYNTH_CONF says."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.source import ROOT

from fedsynth.benchmarks.config.compose import composed
from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.config.grid import cells, runs
from fedsynth.benchmarks.config.own_files import BUILT_IN, conf_files, conf_folders
from fedsynth.benchmarks.config.schema import Run, register
from fedsynth.benchmarks.config.tuned import tuned_file

register()

SCENARIO = "# Is it mine?\nname: mine\nsites: [ixi]\ntasks: {default: [T1->T2]}\n"
EXPERIMENT = """# @package _global_
# Two methods on a scenario of one's own.
defaults:
  - smoke
  - _self_
  - override /scenario: mine
  - override /dataset: small
grids:
  - method: [local, fedavg]
    tuned: mine
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, in which one stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDSYNTH_CONF", raising=False)
    write(tmp_path / "conf")
    return tmp_path


def write(conf: Path) -> None:
    texts = {
        "scenario/mine.yaml": SCENARIO,
        "experiment/mine.yaml": EXPERIMENT,
        "dataset/small.yaml": "# The phantom, small.\ndefaults: [phantom, _self_]\nsize: 16\n",
        "tuned/mine.yaml": "local: []\nfedavg: [trainer.lr=0.5]\n",
    }
    for name, text in texts.items():
        (conf / name).parent.mkdir(parents=True)
        (conf / name).write_text(text)


@pytest.mark.usefixtures("folder")
def test_every_kind_of_file_is_found_where_one_stands() -> None:
    local, fedavg = cells(["experiment=mine"])
    assert [cell.identity["scenario"]["name"] for cell in (local, fedavg)] == ["mine", "mine"]
    assert (fedavg.run.dataset.size, fedavg.run.dataset.train) == (16, 2)  # its own, and what smoke has for the phantom
    assert (local.run.trainer.lr, fedavg.run.trainer.lr) == (3e-3, 0.5)
    (single,) = runs(["experiment=mine"], multirun=False)
    assert single.identity["scenario"]["name"] == "mine"


def test_the_environment_names_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "conf").rename(folder / "elsewhere")
    monkeypatch.setenv("FEDSYNTH_CONF", "elsewhere")
    assert Run.of(composed(["scenario=mine"])).scenario.name == "mine"
    assert tuned_file("mine") == Path("elsewhere/tuned/mine.yaml")
    monkeypatch.setenv("FEDSYNTH_CONF", "nowhere")
    with pytest.raises(OptionError, match=r"FEDSYNTH_CONF names .*nowhere, and there is no such folder"):
        runs([], multirun=False)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("experiment=mein", "no experiment 'mein'; the nearest: mine"),
        ("scenario=mines", "no scenario 'mines'; the nearest: mine"),
        ("dataset=smal", "no dataset 'smal'; the nearest: small"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_misspelt_file_of_one_s_own_is_answered_with_the_nearest(word: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        runs([word], multirun=False)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"name: mine\nsites: [ixi\ntasks: {}\n",
            r"mine\.yaml, line 3, column 6: expected ',' or '\]', but got ':'; correct",
        ),
        (
            b"name: mine\n\tsites: [ixi]\n",
            r"mine\.yaml, line 2, column 1: found character '\\t' that cannot start any token",
        ),
        (b"name: mine\nname: other\n", r"mine\.yaml, line 2, column 1: found duplicate key name; correct the file"),
        (b"name: \x00\n", r"mine\.yaml.*: unacceptable character #x0000.*; delete the character"),
        (b"name: \xff\n", r"conf/scenario/mine\.yaml is no UTF-8 \(invalid start byte at 6\); correct the file"),
        (b"a: &a [*a]\n", r"conf/scenario/mine\.yaml refers to itself; correct the file"),
    ],
)
def test_a_slip_in_a_file_is_named_with_its_line(content: bytes, message: str, folder: Path) -> None:
    """They were 91 lines of traceback."""
    (folder / "conf" / "scenario" / "mine.yaml").write_bytes(content)
    with pytest.raises(OptionError, match=message):
        runs(["scenario=mine"], multirun=False)


@pytest.mark.usefixtures("folder")
def test_misspelt_tuned_options_are_answered_with_the_nearest() -> None:
    with pytest.raises(
        OptionError, match=r"there is no tuned/mien.yaml; the nearest: mine; .* tuned=null does without"
    ):
        cells(["experiment=mine", "tuned=mien"])


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("experiment/demo.yaml", "conf/experiment/demo.yaml"),
        ("tuned/core.yaml", "conf/tuned/core.yaml"),
        ("dataset/phantom.yaml", "the registered dataset"),
    ],
)
def test_a_name_that_a_built_in_choice_has_is_refused(name: str, theirs: str, folder: Path) -> None:
    (folder / "conf" / name).write_text("{}")
    with pytest.raises(OptionError, match=rf"two .* are named .*: .*{theirs} and conf/{name}; rename"):
        runs([], multirun=False)


def test_what_lies_in_a_checkout_s_root_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert conf_folders() == [BUILT_IN]
    assert conf_files("experiment")["demo"] == ROOT / "conf" / "experiment" / "demo.yaml"


def test_files_of_both_are_sorted_by_name(folder: Path) -> None:
    names = [*conf_files("experiment")]
    assert names == sorted(names)
    assert {"mine", "demo"} <= set(names)
    assert conf_files("experiment")["mine"] == Path("conf/experiment/mine.yaml")


def test_a_data_set_without_a_registered_one_below_it_is_refused(folder: Path) -> None:
    (folder / "conf" / "dataset" / "untyped.yaml").write_text("size: 16\n")
    with pytest.raises(OptionError, match=r"dataset: its file must begin with `defaults: \[NAME, _self_\]`"):
        runs(["dataset=untyped"], multirun=False)
