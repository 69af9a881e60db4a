"""`fedsynth leaderboard`: what is printed and written, the same every time, from the records alone."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import finished
import pytest

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.store import Store

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two methods with two seeds, the second without one of them."""
    store = Store(tmp_path)
    for seed, psnr in enumerate((20.0, 21.0)):
        finished.finish(store, finished.identity(seed=seed), psnr)
    finished.finish(store, finished.identity(method={"name": "local"}), 30.0)
    return store


def leaderboard(store: Store, *arguments: str) -> int:
    return main(["leaderboard", "--results", str(store.runs.parent), *arguments])


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_terminal_shows_scores_and_notes(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard(store) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:9] == [
        "variable on phantom",
        "",
        "                            PSNR            ixi   oasis      oasis",
        "rank  method  seeds   PSNR    sd   SSIM  T1->T2  T1->T2  T2->FLAIR",
        "   1  fedavg  2/2    20.50  0.71  20.50   20.50   20.50      20.50",
        "   -  local   1/2        -     -      -       -       -          -",
        "",
        "Few seeds (2): below 5 no significance is drawn, and rows may change places with the seed.",
        "local on resnet: 1/2 seeds, so neither average nor rank; no finished run of seed 1.",
    ]


def test_wide_tables_go_on_below_with_the_names_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sites = {f"hospital{number:02d}": ["T1->T2", "T2->FLAIR"] for number in range(12)}
    what = finished.identity(scenario={"sites": list(sites), "tasks": sites})
    store = Store(tmp_path)
    finished.finish(store, what)
    assert leaderboard(store) == 0
    shown = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in shown[:-1]) <= 120
    assert sum(line.count("hospital") for line in shown) == 24
    assert sum("fedavg" in line for line in shown) == 3


def test_the_csv_holds_every_digit(store: Store) -> None:
    assert leaderboard(store, "--last") == 0
    with (store.runs.parent / "leaderboard/leaderboard.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["table"], first["scores"], first["rank"]) == ("variable on phantom", "last", "1")
    assert (first["seeds"], first["missing seeds"], first["PSNR"]) == ("2", "0", "19.5")
    assert float(first["PSNR sd"]) == pytest.approx(0.5**0.5, rel=1e-15)
    assert (first["oasis T2->FLAIR PSNR"], first["MB up"], first["MB down"]) == ("19.5", "2.0", "3.0")
    assert first["method code"] == "aaaa00000000"
    assert (second["method"], second["seeds"], second["missing seeds"], second["PSNR"]) == ("local", "1", "1", "")


def test_the_markdown_holds_table_notes_and_caption(store: Store) -> None:
    finished.finish(
        store,
        finished.identity(method={"name": "odd", "rule": "a|b"}),
        changed={"method": {"rule": "a|b"}, "network": {}},
    )
    assert leaderboard(store) == 0
    text = (store.runs.parent / "leaderboard/leaderboard.md").read_text()
    assert "| 1 | fedavg | resnet | 2/2 | 0 | 20.50 | 0.71 | 20.50 | 0.71 | 20.50 |" in text
    assert "| odd rule=a\\|b |" in text
    assert "**Few seeds (2)" in text
    assert "- PSNR: dB" in text
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1


def test_made_again_it_is_the_same_byte_for_byte(store: Store, tmp_path: Path) -> None:
    finished.finish(store, finished.identity(trainer={"rounds": 5}, network={"width": 8}))
    found = []
    for number in ("1", "2"):
        command = [sys.executable, "-m", "fedsynth.benchmarks.cli", "leaderboard", "--results", str(store.runs.parent)]
        environment = os.environ | {"PYTHONHASHSEED": number, "COLUMNS": f"{number}0"}
        out = tmp_path / number
        run = subprocess.run([*command, "--out", str(out)], cwd=ROOT, env=environment, capture_output=True, check=True)
        found.append((written(out), run.stdout.rpartition(b"In full")[0]))
        newest = store.runs / store.names()[0]
        newest.rename(away := store.runs.parent / "away")  # another order in the folder
        away.rename(newest)
    assert found[0] == found[1]
    assert list(found[0][0]) == ["leaderboard.csv", "leaderboard.md"]


def test_neither_torch_nor_a_method_is_imported(store: Store) -> None:
    code = (
        "import sys; from fedsynth.benchmarks.cli import main\n"
        f"for verb in ('leaderboard', 'status'): assert main([verb, '--results', {str(store.runs.parent)!r}]) == 0\n"
        "print([m for m in sys.modules if m.startswith(('torch', 'numpy', 'pandas', 'hydra', 'fedsynth.methods'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_damaged_and_unfinished_runs_are_told_and_left_out(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = store.folder(store.names(["local-*"])[0]) / "record.json"
    path.write_bytes(path.read_bytes().replace(b'"done"', b'"dome"'))
    store.folder("fedbn-variable-s0-0123456789ab").mkdir()
    assert leaderboard(store) == 0
    shown = capsys.readouterr()
    assert "local" not in shown.out
    assert f"left out: {path}: not what the run wrote" in shown.err
    assert "left out: 1 not finished" in shown.err


def test_without_a_finished_run_it_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard(Store(tmp_path), "fedbn-*") == 1
    error = capsys.readouterr().err
    assert f"no finished run named fedbn-* in {tmp_path / 'runs'}" in error
    assert "fedsynth run" in error
    assert not (tmp_path / "leaderboard").exists()


def test_only_the_runs_that_are_named(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard(store, "local-*") == 0
    shown = capsys.readouterr().out
    assert "fedavg" not in shown
    assert "1  local" in shown
