"""`fedsynth records publish`: the folder holds all that its tables follow from, and nothing that was written by hand is lost.

The tables that are kept in the repository are those of the records beside them, byte for byte.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.archive import kept_in
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.share.publish import publish as publish_runs


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


def test_parts_that_are_published_at_once_are_all_there(store: Store, tmp_path: Path) -> None:
    """Two took the same number, and the runs of one were lost."""
    runs = [finished_runs(store, [pattern]) for pattern in ("fedavg-*", "local-*")]
    with ThreadPoolExecutor(2) as pool:
        [*pool.map(lambda own: publish_runs(own, tmp_path, "table", part=True), runs)]
    names = [name for archive in (tmp_path / "table").glob("records-*.zip") for name in kept_in(archive)]
    assert sorted(names) == sorted(run.record.run for own in runs for run in own)


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
        "records.zip",
    ]
    with ZipFile(folder / "records.zip") as archive:
        files = [name.split("/") for name in archive.namelist()]
    assert [run.partition("-")[0] for run, _ in files] == ["fedavg"] * 3 + ["local"] * 3
    assert [file for _, file in files] == ["scores.csv", "curve.csv", "record.json"] * 2
    assert main(["leaderboard", "--results", str(folder), "--out", str(tmp_path / "again")]) == 0
    for name in ("leaderboard.md", "leaderboard.csv"):
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
    assert len(Store(folder).names()) == 2
    assert "| local |" in (folder / "leaderboard.md").read_text()


def test_parts_make_the_same_tables_and_become_one_archive(store: Store) -> None:
    folder = store.runs.parent / "look"
    for pattern in ("fedavg-*", "*", "*"):
        assert publish(store, "look", pattern, "--part") == 0
    assert sorted(path.name for path in folder.glob("*.zip")) == ["records-1.zip", "records-2.zip"]
    assert [len(kept_in(path)) for path in sorted(folder.glob("*.zip"))] == [1, 1]
    in_parts = (folder / "leaderboard.md").read_bytes()
    assert publish(store, "look") == 0
    assert [path.name for path in folder.glob("*.zip")] == ["records.zip"]
    assert (folder / "leaderboard.md").read_bytes() == in_parts
    content = (folder / "records.zip").read_bytes()
    assert publish(store, "look", "local-*") == 0
    assert (folder / "records.zip").read_bytes() == content


@pytest.mark.parametrize("name", ["../away", "/tmp/x", "", "runs", "a//b", ".hidden", "a/"])
def test_a_bad_name_is_refused(store: Store, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert publish(store, name) == 2
    assert "cannot be the name of the folder" in capsys.readouterr().err


def test_a_store_may_be_published_where_it_is(store: Store) -> None:
    command = ["records", "publish", "results", "--results", str(store.runs.parent)]
    assert main([*command, "--out", str(store.runs.parents[1])]) == 0
    assert len(kept_in(store.runs.parent / "records.zip")) == 2
    assert len(Store(store.runs.parent).names()) == 3  # the run that is not finished is still there


def test_nothing_finished_publishes_nothing(store: Store) -> None:
    assert publish(store, "look", "fedbn-*") == 1
    assert not (store.runs.parent / "look").exists()


def test_what_cannot_be_written_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (store.runs.parent / "look").write_text("a file")
    assert publish(store, "look") == 2
    assert "fedsynth: " in capsys.readouterr().err


# The published tables


RESULTS = ROOT / "results"
PUBLISHED = sorted({path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.glob("**/records*.zip")})


@pytest.mark.parametrize("table", PUBLISHED)
def test_a_table_follows_from_its_records(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RESULTS / table
    assert main(["leaderboard", "--results", str(folder), "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    kept = sorted(path.name for path in folder.glob("leaderboard.*"))
    assert {"leaderboard.md", "leaderboard.csv"} <= set(kept)
    for name in kept:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), (
            f"{name}: run `fedsynth leaderboard --results results/{table} --out results/{table}`"
        )
