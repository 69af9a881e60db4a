"""`fedsynth leaderboard`: what is printed and written, the same every time, from the records alone."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.record import write_record
from fedsynth.benchmarks.records.store import Store


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
    assert shown[:13] == [
        "variable on phantom",
        "fedavg has the best PSNR with 20.50 dB; it is not settled (fewer than two rows have every seed and no diverged one).",
        "",
        "                                               worst",
        "method                        PSNR   SSIM       site   MB  flags",
        "fedavg               20.50 +- 6.35  20.50  20.50 ixi  0.0",  # +-: 0.5 times t of 1 degree of freedom
        "look-up table                18.25      -          -    -  reference",
        "mean training image          15.50      -          -    -  reference",
        "copied source                11.00      -          -    -  reference",
        "local                            -      -          -  0.0  1 of 2 seeds missing",
        "",
        "Not ranked: fewer than two rows have every seed and no diverged one.",
        "local on resnet has 1 of 2 seeds and therefore neither average nor rank; there is no finished run of seed 1.",
    ]


def test_wide_tables_go_on_below_with_the_names_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sites = {f"hospital{number:02d}": ["T1->T2", "T2->FLAIR"] for number in range(12)}
    what = finished.identity(scenario={"sites": list(sites), "tasks": sites})
    store = Store(tmp_path)
    finished.finish(store, what)
    assert leaderboard(store) == 0
    shown = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in shown[:-1]) <= 120
    assert sum(line.count("hospital") for line in shown) == 25  # one is the worst site
    assert sum(line.startswith("fedavg  ") for line in shown) == 4  # and once in the first table


def test_the_csv_holds_six_digits(store: Store) -> None:
    assert leaderboard(store, "--selection", "last") == 0
    with (store.runs.parent / "leaderboard/leaderboard.csv").open() as file:
        first, second = (row for row in csv.DictReader(file) if row["flags"] != "reference")
    assert (first["table"], first["scores"]) == ("variable on phantom", "last")
    assert (first["seeds"], first["missing seeds"], first["PSNR"]) == ("2", "0", "19.5")
    assert float(first["PSNR sd"]) == pytest.approx(0.5**0.5, rel=1e-6)
    assert (first["oasis T2->FLAIR PSNR"], first["MB up"], first["MB down"]) == ("19.5", "2.0", "3.0")
    assert first["method code"] == "aaaa00000000"
    assert (second["method"], second["seeds"], second["missing seeds"], second["PSNR"]) == ("local", "1", "1", "")


def test_the_markdown_holds_table_notes_and_caption(store: Store) -> None:
    finished.finish(
        store,
        finished.identity(method={"name": "odd", "rule": "a-b"}),
        changed={"method": {"rule": "a-b"}, "network": {}},
    )
    assert leaderboard(store) == 0
    text = (store.runs.parent / "leaderboard/leaderboard.md").read_text()
    assert "| method | PSNR | SSIM | worst site | MB | flags |" in text
    assert "| fedavg | 20.50\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}6.35 | 20.50 | 20.50 ixi | 0.0 |  |" in text
    assert "| look-up table | 18.25 | - | - | - | reference |" in text
    assert "| odd rule=a-b |" in text
    assert "\nNot ranked: fewer than two rows have every seed" in text
    assert "<details><summary>How these numbers were made</summary>\n\n- Sites: ixi T1->T2" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len({row.count("|") for row in part}) for part in (rows[:8], rows[8:])] == [
        1,
        1,
    ]  # scores, and those of site-tasks


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
    assert list(found[0][0]) == [f"leaderboard.{ending}" for ending in ("csv", "html", "md", "tex")]


def test_neither_torch_nor_a_method_is_imported(store: Store) -> None:
    code = (
        "import sys; from fedsynth.benchmarks.cli import main\n"
        f"for verb in ('leaderboard', 'status'): assert main([verb, '--results', {str(store.runs.parent)!r}]) == 0\n"
        "print([m for m in sys.modules if m.startswith(('torch', 'pandas', 'hydra', 'fedsynth.methods'))])"
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
    assert "local" in shown


def written_csv(store: Store) -> list[dict[str, str]]:
    """The methods' rows."""
    with (store.runs.parent / "leaderboard/leaderboard.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["flags"] != "reference"]
    return [row for row in rows if not row["table"].endswith("pairs of methods")]


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Methods on two networks with five seeds, `local` on both, tuned on one of them."""
    store = Store(tmp_path_factory.mktemp("five"))
    for seed in range(5):
        wiggle = 0.1 * (-1) ** seed
        for method, network, lr, level in (
            ("fedavg", "resnet", 2e-4, 21.0 + wiggle),
            ("local", "resnet", 2e-4, 19.0),
            ("local", "resnet", 1e-3, 20.0),
            ("fedavg", "unet", 2e-4, 19.0 + wiggle),
            ("local", "unet", 2e-4, 22.0),
        ):
            what = finished.identity(method={"name": method}, network={"name": network}, trainer={"lr": lr}, seed=seed)
            places = {(site, task): [level, level + 1] for site, tasks in finished.TASKS.items() for task in tasks}
            finished.finish(store, what, places)
    return store


def test_gains_are_over_the_plain_local_row_on_the_same_network(five: Store) -> None:
    assert leaderboard(five) == 0
    found = {(row["method"], row["network"]): row for row in written_csv(five)}
    gains = {name: row["gain"] for name, row in found.items()}
    assert gains == {
        ("local", "unet"): "",
        ("fedavg", "resnet"): "2.02",
        ("local lr=0.001", "resnet"): "1.0",
        ("fedavg", "unet"): "-2.98",
        ("local", "resnet"): "",
    }
    assert [row["groups"] for row in found.values()] == ["a", "b", "", "c", "c"]
    assert float(found["fedavg", "resnet"]["gain p"]) < 0.001
    assert found["fedavg", "resnet"]["sites gaining"] == "1.0"
    assert found["local", "unet"]["worst 5 %"] == "22.0"


def test_another_metric_orders_the_rows(five: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard(five, "--metric", "ssim") == 0
    first = written_csv(five)[0]
    assert list(first).index("SSIM") < list(first).index("PSNR")
    assert first["SSIM +-"] != ""
    assert first["oasis T2->FLAIR SSIM"] == "22.5"
    capsys.readouterr()
    assert leaderboard(five, "--metric", "psnrr") == 2
    assert "psnrr" in capsys.readouterr().err


def test_less_is_better_for_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    for seed in range(5):
        for method, error in (("fedavg", 0.2 + 0.001 * (-1) ** seed), ("local", 0.3)):
            what = finished.identity(method={"name": method}, seed=seed)
            record = finished.record(what)
            store.folder(record.run).mkdir(parents=True)
            rows = [row | {"nmse": error + 0.01 * (row["subject"] >= "test010")} for row in finished.scores(what)]
            write_record(store.folder(record.run), record, rows, finished.curve(what))
    assert leaderboard(store, "--metric", "nmse") == 0
    first, second = written_csv(store)
    assert [row["method"] for row in (first, second)] == ["fedavg", "local"]
    assert float(first["NMSE"]) == pytest.approx(0.2052)
    assert float(first["gain"]) == pytest.approx(0.0998)  # above 0 where the error is less
    assert float(second["worst 5 %"]) == pytest.approx(0.31)
    assert "NMSE: lower is better" in " ".join(capsys.readouterr().out.split())


def test_subjects_without_a_score_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    for method in ("fedavg", "local"):
        what = finished.identity(method={"name": method})
        record = finished.record(what)
        store.folder(record.run).mkdir(parents=True)
        rows = [
            row | {"mae_fg": float("nan") if row["subject"] >= "test010" else 0.25} for row in finished.scores(what)
        ]
        write_record(store.folder(record.run), record, rows, finished.curve(what))
    assert leaderboard(store, "--metric", "mae_fg") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "is the mean over 30 (site, task, subject); 30 have no such score and are left out." in shown
    assert "0.2500" in shown


def test_only_these_rows_with_the_statistics_of_all(five: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard(five) == 0
    before = {(row["method"], row["network"]): row for row in written_csv(five)}
    assert leaderboard(five, "--only", "fedavg/resnet,local lr=0.001/resnet") == 0
    after = written_csv(five)
    assert [(row["method"], row["network"]) for row in after] == [
        ("fedavg", "resnet"),
        ("local lr=0.001", "resnet"),
    ]
    assert all(row == before[row["method"], row["network"]] for row in after)
    assert "3 more rows are not shown; ranks, groups and tests are those of all 5." in capsys.readouterr().out
    assert leaderboard(five, "--only", "fedbn") == 2
    assert "no row is called 'fedbn'; there are 'fedavg/resnet'" in capsys.readouterr().err


def test_rows_are_sorted_by_a_column(five: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard(five, "--sort", "gain") == 0
    assert [row["gain"] for row in written_csv(five)] == ["2.02", "1.0", "-2.98", "", ""]
    assert leaderboard(five, "--sort", "SSIM") == 0
    found = [float(row["SSIM"]) for row in written_csv(five)]
    assert found == sorted(found, reverse=True)
    assert leaderboard(five, "--sort", "network") == 0
    assert [row["network"] for row in written_csv(five)] == ["resnet"] * 3 + ["unet"] * 2
    assert leaderboard(five, "--sort", "PSNRR") == 2
    assert "variable on phantom: no column 'PSNRR'; there are 'PSNR'" in capsys.readouterr().err


def test_only_runs_of_a_scenario(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    finished.finish(store, finished.identity(scenario={"name": "common"}))
    assert leaderboard(store, "--scenario", "common") == 0
    assert {row["table"] for row in written_csv(store)} == {"common on phantom"}
    assert leaderboard(store, "--scenario", "comon") == 2
    assert "no finished run of scenario 'comon'; there are runs of common, variable" in capsys.readouterr().err
