"""Files appear whole or not at all; those that grow, such as a run's curve, are read as far as a checkpoint knows them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from fedsynth.runtime.atomic import atomic_file, atomic_folder, write_atomically
from fedsynth.runtime.checkpoint import CheckpointError, RowsFile


def test_a_file_is_replaced(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_atomically(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"first")

    def fills_the_disk() -> None:
        with atomic_file(tmp_path / "a") as scratch:
            scratch.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fills_the_disk()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"first"}


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen, sync = tmp_path / "a", list[bool](), os.fsync

    def watched(descriptor: int) -> None:
        seen.append(path.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(path, b"content")
    assert seen == [False, True]  # the file's content, then the folder's names


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    """Threads, or processes of the same number on two machines, had the same place."""
    with atomic_file(tmp_path / "a") as ours:
        ours.write_bytes(b"ours")
        write_atomically(tmp_path / "a", b"theirs")
    assert (tmp_path / "a").read_bytes() == b"ours"


def test_a_folder_appears_when_it_is_full_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "a") as scratch:
        (scratch / "file").touch()
        assert not (tmp_path / "deep" / "a").exists()
    assert (tmp_path / "deep" / "a" / "file").exists()
    assert (tmp_path / "deep" / "a").stat().st_mode & 0o777 == 0o755

    def fills_the_disk() -> None:
        with atomic_folder(tmp_path / "deep" / "b"):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fills_the_disk()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a"]


def test_what_is_written_grows_with_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint had the whole curve in it: bytes grew with the square of the rounds."""
    file, rows, sizes = RowsFile(tmp_path / "curve.jsonl"), [], []
    for round in range(100, 110):
        rows.append({"round": round, "val_psnr": math.inf, "site": "ixi é"})
        before = sizes[-1] if sizes else 0
        known = file.extend(rows)
        sizes.append(file.path.stat().st_size)
        assert sizes[-1] - before == sizes[0]
        assert known["bytes"] == sizes[-1]
    assert RowsFile(file.path).read(known) == rows


def test_rows_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    rows = [{"round": round} for round in range(5)]
    file = RowsFile(tmp_path / "curve.jsonl")
    known = file.extend(rows[:2])
    file.extend(rows[:4])
    again = RowsFile(file.path)
    assert again.read(known) == rows[:2]
    later = again.extend([*rows[:2], {"round": "another"}])
    assert RowsFile(file.path).read(later) == [*rows[:2], {"round": "another"}]
    assert len(file.path.read_text().splitlines()) == 3
    anew = RowsFile(file.path)  # a run without a checkpoint begins anew
    assert RowsFile(file.path).read(anew.extend(rows[:1])) == rows[:1]


def test_rows_that_were_damaged_are_refused_by_name(tmp_path: Path) -> None:
    file = RowsFile(tmp_path / "curve.jsonl")
    known = file.extend([{"round": 1}])
    file.path.write_bytes(file.path.read_bytes().replace(b"1", b"2"))
    with pytest.raises(CheckpointError, match=r"curve\.jsonl is damaged"):
        RowsFile(file.path).read(known)
    file.path.unlink()
    with pytest.raises(CheckpointError, match=r"curve\.jsonl is not there"):
        RowsFile(file.path).read(known)
