"""The command line: verbs, their nearest spellings, and what is imported before one is chosen."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from support.source import ROOT
from support.stores import fill

import fedsynth
from fedsynth.benchmarks.cli import PROGRAM, main
from fedsynth.benchmarks.cli.read import COLUMNS, FORMATS
from fedsynth.benchmarks.cli.verb import Verb
from fedsynth.benchmarks.contract.sources import GROUPS
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.plots import style

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
    assert max(map(len, said.splitlines())) <= 80


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
        ("xyz", ["no verb 'xyz'; there are run, sweep, tune, cost, ", "`fedsynth -h` shows how"]),
        ("--versoin", ["no option '--versoin'; did you mean '--version'?", "`fedsynth -h` shows how"]),
        ("records mrge", ["no verb 'mrge'; did you mean 'merge'?", "`fedsynth records -h` shows how"]),
        ("records", ["records what? there are pack, merge, verify, publish, pages", "`fedsynth records -h` shows how"]),
        ("run --multrun", ["no option '--multrun'; did you mean '--multirun'?", "`fedsynth run -h` shows how"]),
        (
            "records pack --result x",
            ["no option '--result'; did you mean '--results'?", "`fedsynth records pack -h` shows how"],
        ),
        (
            "leaderboard --metric psnrr",
            ["invalid value for '--metric': no metric 'psnrr' is installed; the nearest are psnr", "shows how"],
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


@pytest.mark.parametrize("words", [["-m", "method=a,b"], ["method=a,b", "-m"], ["method=a,b", "--multirun", "seed=0"]])
def test_options_stand_anywhere(words: list[str]) -> None:
    params = PROGRAM.commands["run"].make_context("run", [*words]).params
    assert params["multirun"]
    assert params["overrides"] == tuple(word for word in words if "=" in word)


def test_the_help_of_run_has_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "-h"])
    groups, options = re.findall(
        r"^  (?:Groups|Options): (.*?)(?:;|\n\n)", capsys.readouterr().out, re.DOTALL | re.MULTILINE
    )
    assert sorted(groups.replace(",", "").split()) == sorted(GROUPS)
    assert [group for group in GROUPS if group != "experiment" and f"{group}.*" not in options] == []


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fedsynth {fedsynth.__version__}\n"


def test_choices_are_those_of_the_figures() -> None:
    assert (style.FORMATS, tuple(style.WIDTHS)) == (FORMATS, COLUMNS)


def command(words: list[str]) -> click.Command:
    found: click.Command = PROGRAM
    for word in words:
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_the_module_of_a_verb_takes_what_is_declared(words: list[str]) -> None:
    verb = command(words)
    assert isinstance(verb, Verb)
    taken = inspect.signature(import_module(f"fedsynth.benchmarks.{verb.module}").main).parameters
    declared = [param.name for param in verb.params]
    assert sorted(taken) == sorted([*declared, *(["command"] if verb.resumes else [])])


def test_the_page_has_every_verb_with_its_summary() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    lines = [f"| `{' '.join(words)}` | {command(words).short_help} |" for words in VERBS]
    assert [line for line in lines if line not in page] == []


STATIC = ("", "--version", "sttus", "list", "list demo")


def test_static_output_loads_nothing_heavy() -> None:
    """One process asks for all of it."""
    code = (
        "import os, sys\n"
        "from fedsynth.benchmarks.cli import main\n"
        f"for words in {[*map(str.split, STATIC), *([*verb, '-h'] for verb in VERBS)]!r}: main(words)\n"
        "os.environ |= {'_FEDSYNTH_COMPLETE': 'bash_complete', 'COMP_WORDS': 'fedsynth run method = fedav', 'COMP_CWORD': '4'}\n"
        "try: main([])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'hydra', 'omegaconf', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nplain,fedavg\nplain,fedavgm\n[]\n")


@pytest.mark.parametrize("words", ["-h", "list"])
def test_a_reader_who_has_seen_enough_is_no_error(words: str) -> None:
    shell = f"{sys.executable} -m fedsynth.benchmarks.cli {words} | head -1"
    done = subprocess.run(["sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str, *words: str) -> list[str]:
    """What a shell is told to offer for the last word."""
    monkeypatch.setenv("_FEDSYNTH_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["fedsynth", *words]))
    monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words)))
    with pytest.raises(SystemExit, match="0"):
        main([])
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["lea"], ["plain,leaderboard"]),
        (["records", "p"], ["plain,pack", "plain,pages", "plain,publish"]),
        (["run", "--mu"], ["plain,--multirun"]),
        (["run", "''"], ["plain,method=", "plain,network=", "plain,dataset=", "plain,scenario=", "plain,experiment="]),
        (["run", "net"], ["plain,network=mmgan_unet", "plain,network=personalised", "plain,network=resnet"]),
        (["run", "experiment", "=", "smo"], ["plain,smoke"]),
        (["sweep", "experiment", "=", "demo", "scenario", "=", "common,unseen_"], ["plain,common,unseen_task"]),
        (["cost", "fedpr"], ["plain,fedprox"]),
        (["leaderboard", "--metric", "=", "ssim"], ["plain,ssim", "plain,ssim_fg"]),
        (["list", "dat"], ["plain,datasets"]),
        (["prepare", "dataset", "=", "ix"], ["plain,ixi"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bash_is_offered_what_fits(
    words: list[str], first: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = offered(monkeypatch, capsys, "bash", *words)
    assert found[: len(first)] == first


def test_patterns_are_completed_by_the_runs_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fedavg-variable-s0-0123456789ab", "local-variable-s0-0123456789ab"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for shell, equals in (("bash", ["--results", "=", str(tmp_path)]), ("bash", ["--results", str(tmp_path)])):
        found = offered(monkeypatch, capsys, shell, "report", *equals, "fed")
        assert found == ["plain,fedavg-variable-s0-0123456789ab"]


def test_other_shells_are_offered_whole_words_with_their_meaning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fish = offered(monkeypatch, capsys, "fish", "run", "method=fedb")
    assert any(line.startswith("plain,method=fedbn\tFedBN keeps ") for line in fish)
    zsh = offered(monkeypatch, capsys, "zsh", "run", "method=fedbn")
    assert zsh[:3] == ["plain", "method=fedbn", "FedBN keeps normalisation at the site (Li et al., ICLR 2021)."]


def test_fish_cuts_no_offer_at_its_commas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An offer is `plain,scenario=common,unseen`; click's own script takes the second of its three parts for the word."""
    monkeypatch.setenv("_FEDSYNTH_COMPLETE", "fish_source")
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert 'string split --max 1 "," $completion' in capsys.readouterr().out
