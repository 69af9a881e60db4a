"""The command line: verbs, their nearest spellings, and what is imported before one is chosen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.checkout import ROOT
from support.stores import fill

import fedsynth
from fedsynth.benchmarks.cli import PROGRAM, main
from fedsynth.benchmarks.cli.read import COLUMNS, FORMATS
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.plots import style
from fedsynth.registry import DATASETS, METHODS, NETWORKS

VERBS = [
    words
    for name, verb in PROGRAM.commands.items()
    for words in ([[name, own] for own in verb.commands] if isinstance(verb, click.Group) else [[name]])
]


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_without_a_verb_it_says_what_there_is(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert all(f" {verb} " in said for verb in PROGRAM.commands)
    assert len(said.splitlines()) <= 24
    assert max(map(len, said.splitlines())) <= 110


@pytest.mark.parametrize("verb", ["leaderboard", "report", "figures"])
def test_a_place_that_cannot_be_written_is_named(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(Store(tmp_path / "results"), methods=1, scenarios=1, seeds=1, rounds=2)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert main([verb, "--results", str(tmp_path / "results"), "--out", str(blocked)]) == 1
    assert f"fedsynth: {blocked}: File exists; name another place, or mend that one\n" in capsys.readouterr().err
    assert blocked.read_text() == "in the way"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("leaderbord", ["no verb 'leaderbord'; did you mean 'leaderboard'?", "`fedsynth -h` shows how"]),
        (
            "xyz",
            [
                "no verb 'xyz'; there are run, sweep, tune, cost, status, leaderboard, compare, report, figures, prepare, "
                "records, outputs, list, check",
                "`fedsynth -h` shows how",
            ],
        ),
        ("--versoin", ["no option '--versoin'; did you mean '--version'?", "`fedsynth -h` shows how"]),
        ("records mrge", ["no verb 'mrge'; did you mean 'merge'?", "`fedsynth records -h` shows how"]),
        ("records", ["missing command", "`fedsynth records -h` shows how"]),
        ("run --multrun", ["no option '--multrun'; did you mean '--multirun'?", "`fedsynth run -h` shows how"]),
        (
            "records pack --result x",
            ["no option '--result'; did you mean '--results'?", "`fedsynth records pack -h` shows how"],
        ),
        (
            "leaderboard --metric psnrr",
            ["invalid value for '--metric': 'psnrr' is not one of 'psnr', 'ssim'", "shows how"],
        ),
        ("run", ["run what? name a method or an experiment", "`fedsynth run -h` shows how"]),
        (
            "run results=x",
            ["results=x: the folder of the results is given as --results x", "`fedsynth run -h` shows how"],
        ),
        ("leaderboard results=", ["the folder of the results is given as --results DIR", "shows how"]),
        ("check", ["name at least one method, or --all", "`fedsynth check -h` shows how"]),
    ],
)
def test_an_error_is_a_line_and_the_way_to_the_help(
    command: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("fedsynth: ")
    assert all(part in line for part, line in zip(said, lines, strict=True))


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself_on_a_screen(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "-h"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: fedsynth {' '.join(verb)} ")
    assert "\nExamples:\n  fedsynth " in said
    assert len(said.splitlines()) <= 30


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fedsynth {fedsynth.__version__}\n"


def test_choices_are_those_of_the_figures() -> None:
    assert (style.FORMATS, tuple(style.WIDTHS)) == (FORMATS, COLUMNS)


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
    assert main(["list", "method"]) == 2
    assert "no kind 'method'; there are methods, networks, datasets, scenarios" in capsys.readouterr().err
