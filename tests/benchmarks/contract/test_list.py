"""`fedsynth list`: what there is, read without imports, and the options of a choice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.contract.options import docstring, meaning, options
from fedsynth.benchmarks.contract.sources import LISTED, PLUGGABLE, choices, first_sentence
from fedsynth.federation.scenario import Scenario
from fedsynth.networks.network import Norm
from fedsynth.plugins import VARIABLE
from fedsynth.registry import METHODS, NETWORKS

HEAD = "from dataclasses import dataclass\nfrom enum import Enum\n"
MINE = (
    HEAD
    + '''
from fedsynth import Method
from fedsynth.methods import fedavg

class Kind(Enum):
    """How it pulls."""

    soft = 1
    hard = 2

@dataclass
class Mine(fedavg.FedAvg):
    """Mine, as e.g. Smith et al. have it. `share` is of all sites.

    Example:
        >>> Mine(share=1).untold
        3
    """

    mu: float = 0.5  # weight of the pull
    kind: Kind = Kind.soft
    share: float = 1 / 3
    names: list[str] | None = None
    untold: int = 3

if True:
    @dataclass
    class Other(Method):
        """The other one!"""

class NoMethod:
    pass
'''
)


def said(capsys: pytest.CaptureFixture[str], *names: str, status: int = 0) -> tuple[str, str]:
    assert main(["list", *names]) == status
    told = capsys.readouterr()
    return told.out, told.err


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "listed_plugin.py"
    file.write_text(MINE)
    monkeypatch.setenv(VARIABLE, str(file))
    return file


@pytest.mark.parametrize("group", PLUGGABLE)
def test_without_an_import_it_finds_what_is_registered(group: str) -> None:
    found, broken = choices(group)
    assert set(PLUGGABLE[group].entries()) <= {choice.name for choice in found}
    assert broken == {}
    assert all(choice.summary.endswith((".", "?")) and choice.origin == "" for choice in found)


@pytest.mark.parametrize("group", LISTED)
def test_a_line_of_the_list_is_one_sentence(group: str) -> None:
    found, _ = choices(group)
    assert [own for own in found if not own.summary.endswith((".", "?")) or " fedsynth " in own.summary] == []


def test_all_or_one_kind_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys)
    assert [part.partition("\n")[0] for part in out.split("\n\n")] == [
        *("methods", "networks", "datasets", "scenarios", "experiments", "optimizers", "schedules", "metrics")
    ]
    assert re.search(r"^  fedbn +FedBN.* \(Li et al\., ICLR 2021\)\.$", out, re.MULTILINE)
    assert re.search(r"^  ixi +IXI", out, re.MULTILINE)
    out, _ = said(capsys, "networks")
    assert out.startswith("networks\n  mmgan_unet ")
    assert "fedbn" not in out


def test_a_terminal_s_width_cuts_with_an_ellipsis(
    plugin: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    out, _ = said(capsys, "methods")
    assert max(map(len, out.splitlines())) <= 40
    assert re.search(r"^  mine +Mine, as( e\.g\.)?\.\.\.$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("Li et al. (2020), St. Louis, e.g. by J. Smith: 3 T.\nMore.", "Li et al. (2020), St. Louis, e.g. by J. Smith: 3 T."),
        ("Does it pay? x=1 says.", "Does it pay?"),
        ("A line\n  that goes on\n\nAnd a paragraph", "A line that goes on"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_summary_ends_with_its_sentence(text: str, first: str) -> None:
    assert first_sentence(text) == first


def test_plugin_files_are_parsed_and_not_run(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin.write_text(f"{MINE}\nraise RuntimeError('this file was run')")
    out, err = said(capsys, "methods")
    assert f"\n  mine             Mine, as e.g. Smith et al. have it. [{plugin}]\n" in out
    assert f"\n  other            The other one! [{plugin}]\n" in out
    assert "nomethod" not in out
    assert err == ""


def test_a_file_that_cannot_be_read_is_told_and_the_rest_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, empty = tmp_path / "broken_plugin.py", tmp_path / "empty_plugin.py"
    broken.write_text("x = 1\ndef f(:\n")
    empty.write_text("import a_library_that_is_not_here\n")
    monkeypatch.setenv(VARIABLE, os.pathsep.join(map(str, (broken, empty, tmp_path / "nowhere.py"))))
    out, err = said(capsys, "methods", status=1)
    assert "  fedavg " in out
    assert f"{broken}, line 2, cannot be parsed: invalid syntax" in err
    assert f"{empty}: defines no network, no data set, no method, no optimiser, no schedule, no metric" in err
    assert f"{tmp_path / 'nowhere.py'}: " in err
    assert len(err.splitlines()) == 3


def test_one_s_own_experiments_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "conf" / "experiment" / "night.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\n# What I train at night. And more.\ntrainer:\n  rounds: 3 # few\n")
    monkeypatch.chdir(tmp_path)
    out, _ = said(capsys, "experiments")
    assert "\n  night           What I train at night. [conf/experiment/night.yaml]\n" in out
    out, _ = said(capsys, "night")
    assert out == (
        "experiment night [conf/experiment/night.yaml]\n  What I train at night. And more.\n\n  trainer:\n    rounds: 3 # few\n"
    )


def test_a_method_is_shown_with_its_options_and_what_travels(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "fedprox")
    head, about, shown, travels = out.strip().split("\n\n")
    assert head.startswith("method fedprox\n  FedProx")
    assert " ".join(about.split()) == " ".join((METHODS["fedprox"].__doc__ or "").split())
    assert shown.startswith("  method.mu=1  (float)\n      ")
    assert "\n  method.l1=100  (float)\n      weight of the L1 term" in shown
    told = "Published without a network for synthesis; it runs on network=resnet: 100 % of its generator's parameters travel."
    assert " ".join(travels.split()) == told
    out, _ = said(capsys, "local")
    assert " ".join(out.split()).endswith("it runs on network=resnet: nothing travels.")


def test_a_scenario_and_a_layout_are_shown_with_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "common", "ixi", "resnet")
    assert "scenario common\n  Does federation pay" in out
    assert "\n  scenario.sites=[*]  (list[str])\n" in out
    assert "\n  dataset.chain.register=rigid  (none|rigid|affine)\n" in out
    assert "\n  network.norm=instance  (instance|batch)\n" in out


def test_a_name_of_two_kinds_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "poisoned")
    assert out.startswith("scenario poisoned\n")
    assert "\n\nexperiment poisoned\n" in out


def test_the_network_of_a_method_is_shown_as_that_method_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "of_silobn")
    assert out.startswith(f"network of_silobn, which is {METHODS['silobn'].default_network()}\n")
    assert METHODS["silobn"].needs_norm is Norm.batch
    assert "\n  network.norm=batch  (instance|batch)\n" in out


def test_an_unknown_name_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "fedpox", status=2)[1].startswith("fedsynth: there is no 'fedpox'; the nearest: fedprox, ")
    assert said(capsys, "method", status=2)[1].startswith("fedsynth: there is no 'method'; the nearest: methods")
    assert said(capsys, "zzzzzz", status=2)[1].startswith("fedsynth: there is no 'zzzzzz'; `fedsynth list` shows")


def test_the_options_of_a_scenario_are_explained() -> None:
    shown = {own.name: own.meaning for own in options(Scenario)}
    assert shown["name"] == "What tables call it."
    assert shown["fail"].startswith("The probability that a site ")
    assert [name for name, meant in shown.items() if not meant.endswith((".", ")"))] == []


def test_every_option_has_a_type_and_a_value() -> None:
    for registry in (METHODS, NETWORKS):
        for entry in registry.entries().values():
            assert all(own.type and own.default for own in options(entry.cls))


def test_types_defaults_and_meanings_are_those_of_the_source(plugin: Path) -> None:
    from fedsynth.plugins import load_plugin

    mine = load_plugin(plugin).Mine
    shown = {own.name: own[1:] for own in options(mine)}
    assert list(shown)[:2] == ["mu", "kind"]
    assert shown["mu"] == ("float", "0.5", "weight of the pull")
    assert shown["kind"] == ("soft|hard", "soft", "How it pulls.")
    assert shown["share"] == ("float", "0.333333", "of all sites.")
    assert shown["names"] == ("list[str]|null", "null", "")
    assert shown["untold"] == ("int", "3", "")
    assert meaning(mine, "l1").startswith("weight of the L1 term")
    assert docstring(mine).strip() == "Mine, as e.g. Smith et al. have it. `share` is of all sites."


def test_a_file_with_a_metric_alone_is_listed_by_a_fresh_process(tmp_path: Path) -> None:
    """Which has imported no part of the engine."""
    file = tmp_path / "mine.py"
    file.write_text(
        '"""Mine."""\nfrom fedsynth import ImageMetric\nclass Mine(ImageMetric):\n    better, range = "lower", (0, 1)\n'
    )
    code = "import sys; from fedsynth.benchmarks.contract.sources import choices; print(choices(sys.argv[1]))"
    for group, found in (("metric", "Choice(name='mine', summary='Mine.'"), ("method", "Choice(name='local'")):
        done = subprocess.run(
            [sys.executable, "-c", code, group],
            cwd=ROOT,
            env=os.environ | {VARIABLE: str(file)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert found in done.stdout
        assert done.stdout.rstrip().endswith("{})")
