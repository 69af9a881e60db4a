"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedsynth.runtime.atomic import atomic_file, atomic_folder, write_atomically


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
