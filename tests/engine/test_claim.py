"""One process at a time may write to a folder, also where the file system's locks hold nowhere or on one machine only."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedsynth.runtime import claim as module
from fedsynth.runtime.atomic import write_atomically
from fedsynth.runtime.claim import ClaimLostError, claim, is_claimed, lock_fault

MOUNT = "36 35 98:0 / {place} rw,noatime shared:1 - {kind} server:/export rw,{options}\n"


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without flock, and leases that are stale after three seconds."""

    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(module, "BEAT", 0.1)
    monkeypatch.setattr(module, "STALE", 3.0)


def forked(work: Callable[[], int]) -> int:
    """A child that does the work and ends with its status; 7 where it lost its claim."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work()
        except ClaimLostError:
            status = 7
        finally:
            os._exit(status)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("ext4", "relatime", ""),
        ("nfs4", "vers=4.2,local_lock=none", ""),
        ("nfs", "vers=3,nolock", "nfs with nolock: its locks hold on one machine only"),
        ("nfs", "vers=3,local_lock=all", "nfs with local_lock=all: its locks hold on one machine only"),
        ("lustre", "flock,lazystatfs", ""),
        ("lustre", "localflock", "lustre with localflock: its locks hold on one machine only"),
        ("lustre", "lazystatfs", "lustre: whether its locks hold on other machines is unknown"),
        ("cifs", "nobrl", "cifs with nobrl: its locks hold on one machine only"),
        ("fuse.sshfs", "user_id=0", "fuse.sshfs: whether its locks hold on other machines is unknown"),
    ],
)
def test_the_mount_says_whether_locks_hold_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, told: str
) -> None:
    place = tmp_path / "my store"
    table = "1 0 8:1 / / rw - ext4 /dev/sda rw\n" + MOUNT.format(
        place=str(place).replace(" ", r"\040"), kind=kind, options=options
    )
    (tmp_path / "mountinfo").write_text(table)
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "mountinfo")
    assert lock_fault(place / "runs") == told
    assert lock_fault(tmp_path / "elsewhere") == ""


@pytest.mark.usefixtures("no_locks")
def test_of_processes_that_come_at_once_one_has_the_folder(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    tried.mkdir()

    def work() -> int:
        with claim(tmp_path / "lock", tmp_path, leased=False) as mine:
            (tried / str(os.getpid())).touch()
            while mine and len([*tried.iterdir()]) < 6:
                time.sleep(0.01)
            return int(mine)

    children = [forked(work) for _ in range(6)]
    assert sorted(map(status_of, children)) == [0, 0, 0, 0, 0, 1]
    assert not is_claimed(tmp_path / "lock", leased=False)
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "tried"}


@pytest.mark.usefixtures("no_locks")
def test_a_lease_is_renewed_as_long_as_its_process_lives(tmp_path: Path) -> None:
    def work() -> int:
        with claim(tmp_path / "lock", tmp_path, leased=True) as mine:
            while not (tmp_path / "enough").exists():
                time.sleep(0.01)
            return int(mine)

    child = forked(work)
    while not is_claimed(tmp_path / "lock", leased=True):
        time.sleep(0.01)
    time.sleep(3.5)
    assert is_claimed(tmp_path / "lock", leased=True)
    with claim(tmp_path / "lock", tmp_path, leased=True) as mine:
        assert not mine
    (tmp_path / "enough").touch()
    assert status_of(child) == 1


@pytest.mark.usefixtures("no_locks")
def test_who_stood_still_too_long_loses_the_folder_and_writes_nothing_more(tmp_path: Path) -> None:
    def work() -> int:
        with claim(tmp_path / "lock", tmp_path, leased=True):
            while True:
                write_atomically(tmp_path / "stopped", b"")
                time.sleep(0.01)

    child = forked(work)
    while not (tmp_path / "stopped").exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGSTOP)
    with claim(tmp_path / "lock", tmp_path, leased=True) as mine:
        assert not mine
    time.sleep(3.2)
    with claim(tmp_path / "lock", tmp_path, leased=True) as mine:
        assert mine
        (tmp_path / "stopped").unlink()
        os.kill(child, signal.SIGCONT)
        assert status_of(child) == 7
        write_atomically(tmp_path / "ours", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours"]


@pytest.mark.usefixtures("no_locks")
def test_who_was_killed_on_this_machine_lets_go_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE", 100.0)

    def work() -> int:
        with claim(tmp_path / "lock", tmp_path, leased=True):
            (tmp_path / "there").touch()
            time.sleep(60)
        return 0

    child = forked(work)
    while not (tmp_path / "there").exists():
        time.sleep(0.01)
    assert is_claimed(tmp_path / "lock", leased=True)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not is_claimed(tmp_path / "lock", leased=True)
    with claim(tmp_path / "lock", tmp_path, leased=True) as mine:
        assert mine
        assert [path.name for path in tmp_path.glob("lock*")] == ["lock.lease-2"]
