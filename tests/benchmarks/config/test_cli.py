"""The command line: verbs, their nearest spellings, and what is imported before one is chosen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.checkout import ROOT
from support.stores import fill

from fedsynth.benchmarks.cli import VERBS, main
from fedsynth.benchmarks.records.store import Store
from fedsynth.registry import DATASETS, METHODS, NETWORKS


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_without_a_verb_it_says_what_there_is(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {verb} " in said for verb in VERBS)


@pytest.mark.parametrize("verb", ["leaderboard", "report", "figures"])
def test_a_place_that_cannot_be_written_is_named(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(Store(tmp_path / "results"), methods=1, scenarios=1, seeds=1, rounds=2)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert main([verb, "--results", str(tmp_path / "results"), "--out", str(blocked)]) == 1
    assert f"fedsynth: {blocked}: File exists; name another place, or mend that one\n" in capsys.readouterr().err
    assert blocked.read_text() == "in the way"


def test_a_misspelt_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderbord"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("fedsynth: no verb 'leaderbord'; did you mean 'leaderboard'?")
    assert said.out == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main([verb, "--help"])
    except SystemExit as stop:  # argparse's way
        status = int(stop.code or 0)
    assert status == 0
    assert f"usage: fedsynth {verb}" in capsys.readouterr().out


def test_the_verb_is_chosen_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys; from fedsynth.benchmarks.cli import main; main(['sttus']);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'hydra', 'omegaconf', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_list_names_everything_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    scenarios = [path.stem for path in (ROOT / "conf" / "scenario").glob("*.yaml")]
    for name in (*METHODS.entries(), *NETWORKS.entries(), *DATASETS.entries(), *scenarios):
        assert f"\n  {name} " in said


def test_the_list_of_one_kind_names_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "networks"]) == 0
    said = capsys.readouterr().out
    assert "resnet" in said
    assert "fedavg" not in said


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["list", "method"])
    assert "no kind 'method'; there are methods, networks, datasets, scenarios" in capsys.readouterr().err


def test_run_without_arguments_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "usage: fedsynth run" in capsys.readouterr().out
