"""The cache of records: tables are the same with and without it, and a file that has changed is never taken from it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from support import finished

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records import cache as module
from fedsynth.benchmarks.records.cache import NAME
from fedsynth.benchmarks.records.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of a size and age at which runs are cached."""
    monkeypatch.setattr(module, "MANY", 2)
    monkeypatch.setattr(module, "SETTLED", -1.0)
    store = Store(tmp_path)
    for method, psnr in (("local", 20.0), ("fedavg", 21.5)):
        for seed in range(2):
            finished.finish(store, finished.identity(method={"name": method}, seed=seed), psnr + seed / 8)
    return store


def written(store: Store, *arguments: str) -> dict[str, bytes]:
    """The leaderboard's files."""
    assert main(["leaderboard", "--results", str(store.runs.parent), *arguments]) == 0
    return {path.name: path.read_bytes() for path in (store.runs.parent / "leaderboard").iterdir()}


def cache(store: Store) -> Path:
    return store.runs.parent / "cache" / NAME


def test_tables_are_the_same_with_and_without(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ([], ["--selection", "last"], ["--metric", "vif"]):
        kept = [written(store, *arguments) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(module, "MANY", 100)
            assert kept == [written(store, *arguments)] * 2


def test_the_second_time_no_file_of_a_run_is_opened(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(store)
    monkeypatch.setattr(module, "read_record", lambda folder: pytest.fail(f"{folder} was read again"))
    monkeypatch.setattr(module.ScoreTable, "read", lambda *_: pytest.fail("a table was read again"))
    assert written(store) == first


@pytest.mark.parametrize("name", ["scores.csv", "curve.csv", "record.json"])
def test_a_changed_file_is_refused_though_it_keeps_its_size_and_time(
    store: Store, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = written(store)
    path = store.folder(store.names(["fedavg-*"])[0]) / name
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content.replace(b"2", b"3", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert written(store) != whole
    assert f"left out: {path}" in capsys.readouterr().err
    path.write_bytes(content)
    assert written(store) == whole


def test_a_missing_table_is_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    written(store)
    path = store.folder(store.names()[0]) / "scores.csv"
    path.unlink()
    written(store)
    assert f"left out: {path}: missing" in capsys.readouterr().err


def test_files_that_have_just_changed_are_not_cached(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED", 60.0)
    assert len(written(store)) == 4
    with sqlite3.connect(cache(store)) as database:
        assert database.execute("select count(*) from records").fetchone() == (0,)


def test_a_small_store_has_no_cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 5)
    written(store)
    assert not cache(store).parent.exists()


@pytest.mark.parametrize(
    "change",
    [
        "score_tables set numbers = zeroblob(length(numbers))",
        "score_tables set heads = substr(heads, 2)",
        "records set content = replace(content, 'local', 'locol')",
    ],
)
def test_a_cache_that_lost_a_bit_makes_no_other_table(
    store: Store, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another number in it was another number in the table, and a text that is no JSON was a traceback."""
    whole = written(store)
    with sqlite3.connect(cache(store)) as database:
        database.execute(f"update {change}")
    capsys.readouterr()
    assert written(store) == whole
    assert "was damaged (what it has of" in capsys.readouterr().err
    assert written(store) == whole
    assert cache(store).exists()
    assert capsys.readouterr().err == ""


def test_a_cache_that_cannot_be_written_or_read_is_done_without(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = written(store)
    cache(store).write_bytes(b"no database" * 1000)
    capsys.readouterr()
    assert written(store) == whole
    assert "was damaged (" in capsys.readouterr().err
    assert not cache(store).exists()
    cache(store).parent.rmdir()
    cache(store).parent.write_text("a file where the folder should be")  # root may write to any folder
    assert written(store) == whole
    assert capsys.readouterr().err == ""
