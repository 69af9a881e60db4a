"""Who may write to a folder: one process at a time, on however many machines have it.

Where the file system's locks hold for all of them a lock says so, and the kernel frees it when its process dies. Elsewhere it is
a lease: a file beside the lock, `lock.lease-N`, which its holder renews every BEAT seconds. One that was not renewed for STALE
seconds is free, and so is one whose process was of this machine and is gone. Who comes next makes `lock.lease-N+1`: only one
process can make that file. Whoever stood still meanwhile finds that it was passed, and writes nothing more: `check_claim`, which
atomic.py asks before a file appears. Left is a process that stops between that question and the rename after it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

BEAT, STALE = 10.0, 120.0  # seconds; NFS may show the time of a file a minute late
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
MOUNTS = Path("/proc/self/mountinfo")  # of Linux
# File systems of one machine, and of several: by flock(2) and their manuals their locks hold for all, but for the options below.
ONE_MACHINE = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "tmpfs", "overlay", "fuseblk"}
SEVERAL = {"nfs", "nfs4", "ceph", "gpfs", "gfs2", "ocfs2"}
HERE = {
    "nfs": ("nolock", "local_lock=flock", "local_lock=all"),
    "nfs4": ("nolock", "local_lock=flock", "local_lock=all"),
    "lustre": ("localflock",),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
}
# What this process holds by a lease, with the question whether it still does.
_CLAIMED: dict[Path, Callable[[], None]] = {}


class ClaimLostError(RuntimeError):
    """Another process has the folder now, since this one stood still for too long; it must not write there."""


def lock_fault(folder: Path) -> str:
    """Why locks there may not hold on other machines, by the type and the options of the mount; empty where they do."""
    kind, options = _mount_of(folder)
    if own := [option for option in HERE.get(kind, ()) if option in options]:
        return f"{kind} with {own[0]}: its locks hold on one machine only"
    if kind in ONE_MACHINE | SEVERAL | {""} or (kind == "lustre" and "flock" in options):
        return ""
    return f"{kind}: whether its locks hold on other machines is unknown"


def _mount_of(folder: Path) -> tuple[str, set[str]]:
    """The type and the options of the file system of a folder, which need not be there yet; empty where nobody says."""
    place, best, found = folder.absolute().resolve(), -1, ("", set[str]())
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return found
    for line in lines:
        mount, _, system = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), mount.split()[4]))
        if point in (place, *place.parents) and len(point.parts) >= best:  # of two mounts at one place the last counts
            kind, _, options = system.split(maxsplit=2)
            best, found = len(point.parts), (kind, {*mount.split()[5].split(","), *options.split(",")})
    return found


@contextmanager
def claim(lock: Path, folder: Path, leased: bool, patience: float = 1.0) -> Iterator[bool]:
    """Whether this process may write to a folder. It may until the block ends, and no other process may meanwhile.

    `lock` is the file of the lock, which may be in the folder or beside it. With `leased`, or where the file system has no locks,
    it is a lease.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    if not leased:
        with lock.open("a") as file:
            if (mine := _seize(file.fileno(), fcntl.LOCK_EX, patience)) is not None:
                yield mine
                return
    lease = _Lease(lock)
    if not lease.take():
        yield False
        return
    _CLAIMED[folder] = lease.check
    try:
        yield True
    finally:
        del _CLAIMED[folder]
        lease.release()


def is_claimed(lock: Path, leased: bool) -> bool:
    """Whether a process holds the lock or the lease now. It is not disturbed."""
    if not leased:
        try:
            with lock.open() as file:
                if (free := _seize(file.fileno(), fcntl.LOCK_SH, 0)) is not None:
                    return not free
        except FileNotFoundError:
            return False
    return any(time.time() - _changed(path) < STALE and not _is_dead(path) for path in _leases(lock).values())


def check_claim(path: Path) -> None:
    """Raises ClaimLostError where this process had a lease of the path's folder and has it no more."""
    for folder, check in [*_CLAIMED.items()]:
        if folder in (path, *path.parents):
            check()


def is_lock(path: Path) -> bool:
    """Whether it is one of the files by which a folder is claimed."""
    return re.fullmatch(r"lock(\.lease-\d+)?", path.name) is not None


def _seize(lock: int, kind: int, patience: float) -> bool | None:
    """Take a file lock; None where the file system has none. Retry for `patience` seconds, longer than `is_claimed` holds it."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            return None


class _Lease:
    """A lease that this process takes, renews and gives back."""

    def __init__(self, lock: Path) -> None:
        self._lock, self._path, self._token = lock, lock, secrets.token_hex(8)
        self._ended = threading.Event()

    def take(self) -> bool:
        """Whether it is ours now: nobody had it, or whoever had it has not renewed it for too long."""
        before = _leases(self._lock)
        last = max(before, default=0)
        if last and self._age(before[last]) < STALE and not _is_dead(before[last]):
            return False
        self._path = self._lock.with_name(f"{self._lock.name}.lease-{last + 1}")
        try:
            with self._path.open("x") as file:
                file.write(json.dumps({"machine": _machine(), "pid": os.getpid(), "token": self._token}))
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            return False
        if not self._held():  # passed while it was made
            self.release()
            return False
        for path in before.values():
            path.unlink(missing_ok=True)
        threading.Thread(target=self._renew, daemon=True).start()
        return True

    def check(self) -> None:
        if not self._held():
            raise ClaimLostError(
                f"{self._lock.parent} is another process's now, as this one stood still for {STALE:.0f} s or more; it writes "
                "nothing there"
            )

    def release(self) -> None:
        """Give it back, unless it is another's."""
        self._ended.set()
        if self._is_ours():
            self._path.unlink(missing_ok=True)

    def _held(self) -> bool:
        return self._is_ours() and max(_leases(self._lock), default=0) == _number(self._path)

    def _is_ours(self) -> bool:
        try:
            return bool(json.loads(self._path.read_bytes())["token"] == self._token)
        except (OSError, ValueError, KeyError, TypeError):  # it is gone
            return False

    def _renew(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                if not self._held():
                    return
                os.utime(self._path)
            except OSError:  # the network is away; the next beat may reach it
                continue

    def _age(self, path: Path) -> float:
        """Seconds since it was renewed, by the clock of the machine that has the files."""
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".now-") as now:
            now.write(b"0")
            now.flush()
            return os.fstat(now.fileno()).st_mtime - _changed(path)


def _leases(lock: Path) -> dict[int, Path]:
    """The leases beside a lock, by number; the last one counts."""
    return {_number(path): path for path in lock.parent.glob(f"{lock.name}.lease-*") if path.name[-1].isdigit()}


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _changed(path: Path) -> float:
    """When a lease was renewed; long ago where it was given back."""
    try:
        with path.open() as file:  # opened, so that NFS asks its server
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return -math.inf


def _is_dead(path: Path) -> bool:
    """Whether the holder was a process of this machine that is there no more."""
    try:
        holder = json.loads(path.read_bytes())
        return bool(holder["machine"] == _machine()) and not Path("/proc", str(holder["pid"])).exists()
    except (OSError, ValueError, KeyError, TypeError):  # given back, or not written yet
        return False


def _machine() -> str:
    """This machine, and in a container the numbers that its processes have there."""
    processes = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(processes) if processes.exists() else os.getpid()}"
