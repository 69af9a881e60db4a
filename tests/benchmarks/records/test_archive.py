"""A store whose runs lie in an archive is a store like any other, and a damaged archive is named."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import pytest
from support import finished

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.archive import FILES, write_archive
from fedsynth.benchmarks.records.store import State, Store


@pytest.fixture(name="trained")
def _trained(tmp_path: Path) -> Store:
    store = Store(tmp_path / "trained")
    for method in ("fedavg", "local"):
        finished.finish_whole(store, finished.identity(method={"name": method}))
    return store


@pytest.fixture(name="published")
def _published(trained: Store, tmp_path: Path) -> Store:
    """The same runs in an archive."""
    folder = tmp_path / "published"
    folder.mkdir()
    write_archive(folder / "records.zip", [(run, trained.kept(run)) for run in trained.names()])
    return Store(folder)


def leaderboard(store: Store) -> str:
    assert main(["leaderboard", "--results", str(store.runs.parent)]) == 0
    return (store.runs.parent / "leaderboard" / "leaderboard.md").read_text()


def test_it_says_what_the_folders_say(trained: Store, published: Store) -> None:
    assert published.names() == trained.names()
    for run in published.names():
        assert run in published
        assert published.record(run) == trained.record(run)
        assert published.identity(run) == trained.identity(run)
        assert published.status(run) == trained.status(run)
        assert published.status(run).state is State.done
    assert leaderboard(published) == leaderboard(trained)


def test_a_record_that_is_merged_again_is_there_already(
    trained: Store, published: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["records", "merge", str(trained.runs), "--results", str(published.runs.parent)]) == 0
    assert "0 taken, 2 there already, 0 refused" in capsys.readouterr().out


def test_what_is_published_is_not_pruned(published: Store, capsys: pytest.CaptureFixture[str]) -> None:
    content = (published.runs.parent / "records.zip").read_bytes()
    main(["prune", "*", "--yes", "--results", str(published.runs.parent)])
    capsys.readouterr()
    assert (published.runs.parent / "records.zip").read_bytes() == content
    assert len(published.names()) == 2


def test_a_damaged_archive_is_named(trained: Store, published: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = published.runs.parent / "records.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert main(["leaderboard", "--results", str(published.runs.parent)]) == 1
    assert f"left out: {path}: its runs cannot be read" in capsys.readouterr().err
    with ZipFile(
        trained.runs.parent / "records.zip", "w"
    ) as archive:  # not compressed, so that a number can be changed
        for run in trained.names():
            for name in FILES:
                archive.write(trained.folder(run) / name, f"{run}/{name}")
    content = (trained.runs.parent / "records.zip").read_bytes()
    path.write_bytes(content.replace(b'"seconds"', b'"Seconds"', 1))
    assert main(["leaderboard", "--results", str(published.runs.parent)]) == 0
    assert f"left out: {path}/fedavg-" in capsys.readouterr().err
