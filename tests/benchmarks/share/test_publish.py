"""`fedsynth records publish`: the folder holds all that its tables follow from, and nothing that was written by hand is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import finished

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    for method in ("fedavg", "local"):
        name = finished.finish(store, finished.identity(method={"name": method}))
        (store.folder(name) / "gallery.npz").write_bytes(b"images")
        (store.folder(name) / "last.pt").write_bytes(b"a checkpoint")
    (store.folder("fedbn-variable-s0-0123456789ab")).mkdir()
    return store


def publish(store: Store, *arguments: str) -> int:
    return main(
        ["records", "publish", *arguments, "--results", str(store.runs.parent), "--out", str(store.runs.parent)]
    )


def test_the_folder_is_whole_and_makes_its_tables_again(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(store, "first/look") == 0
    folder = store.runs.parent / "first" / "look"
    assert f"published 2 runs in {folder} (" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "runs",
    ]
    runs = sorted((folder / "runs").iterdir())
    assert [run.name.partition("-")[0] for run in runs] == ["fedavg", "local"]
    for run in runs:
        assert sorted(path.name for path in run.iterdir()) == ["curve.csv", "record.json", "scores.csv"]
    assert main(["leaderboard", "--results", str(folder), "--out", str(tmp_path / "again")]) == 0
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.tex"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert "--results results/first/look" in (folder / "README.md").read_text()


def test_published_again_it_grows_and_keeps_the_readme(store: Store) -> None:
    assert publish(store, "look", "fedavg-*") == 0
    folder = store.runs.parent / "look"
    (folder / "README.md").write_text("mine")
    before = (folder / "leaderboard.md").read_text()
    assert "local" not in before.partition("\n\n- ")[0]
    assert publish(store, "look", "local-*") == 0
    assert (folder / "README.md").read_text() == "mine"
    assert len(list((folder / "runs").iterdir())) == 2
    assert "| local |" in (folder / "leaderboard.md").read_text()


@pytest.mark.parametrize("name", ["../away", "/tmp/x", "", "runs", "a//b", ".hidden", "a/"])
def test_a_bad_name_is_refused(store: Store, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert publish(store, name) == 2
    assert "cannot be the name of the folder" in capsys.readouterr().err


def test_a_store_is_not_published_into_itself(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["records", "publish", "results", "--results", str(store.runs.parent)]
    assert main([*command, "--out", str(store.runs.parents[1])]) == 2
    assert "is where the runs are; give another NAME, or --out" in capsys.readouterr().err


def test_nothing_finished_publishes_nothing(store: Store) -> None:
    assert publish(store, "look", "fedbn-*") == 1
    assert not (store.runs.parent / "look").exists()


def test_what_cannot_be_written_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (store.runs.parent / "look").write_text("a file")
    assert publish(store, "look") == 2
    assert "fedsynth: " in capsys.readouterr().err
