"""The n-th call that touches the disk fails, as in SQLite's tests: opens, writes, flushes and renames, counted in one folder.

A command runs in a forked child, so that a failure leaves nothing behind but files. Where the disk is full, all later writes fail
too; every other failure happens once.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fedsynth.runtime import checkpoint

ERRORS = {  # how each kind of call fails
    "open": (errno.EMFILE, errno.EIO, errno.ENOSPC),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO, errno.ENOSPC),
}
OPEN, LOW_OPEN, FSYNC, SAVE = io.open, os.open, os.fsync, checkpoint.save_file


@dataclass
class Faults:
    """Counts the calls on files in a folder; of those the one with the number `at`, from 1, fails with `error`."""

    folder: Path
    at: int = 0
    error: int = 0
    calls: list[str] = field(default_factory=list)  # the kind of each, and its file
    full: bool = False

    def call(self, kind: str, path: Any, creates: bool = True) -> None:
        """Note a call, or let it fail. Reading needs no room."""
        place = str(path)
        if not place.startswith(str(self.folder)):
            return
        self.calls.append(f"{kind} {os.path.relpath(place, self.folder)}")
        if len(self.calls) == self.at:
            self.full = self.error == errno.ENOSPC
            raise OSError(self.error, os.strerror(self.error), place)
        if self.full and creates and kind in ("open", "write"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)

    def opened(self, file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        """`open`, whose writes of files in the folder are calls too."""
        if not isinstance(file, str | bytes | os.PathLike):
            return OPEN(file, mode, buffering, *args, **options)
        path = os.fsdecode(file)
        self.call("open", path, creates=mode[0] in "wxa")
        found = OPEN(file, mode, buffering, *args, **options)
        if not (set(mode) & set("wxa+") and path.startswith(str(self.folder))):
            return found
        found.close()  # it is there, and as empty as it should be
        both = "+" in mode
        raw = _Watched(path, ("a" if "a" in mode else "r") + ("+" if both or "a" not in mode else ""))
        raw.call = self.call
        binary = io.BufferedRandom(raw) if both else io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, *args, **options)

    def opened_low(self, path: Any, flags: int, *args: Any, **options: Any) -> int:
        self.call("open", os.fsdecode(path), creates=bool(flags & os.O_CREAT))
        return LOW_OPEN(path, flags, *args, **options)

    def flushed(self, descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        self.call("fsync", os.readlink(f"/proc/self/fd/{number}"))
        FSYNC(number)

    def renamed(self, rename: Callable[..., None], source: Any, target: Any, **options: Any) -> None:
        self.call("rename", os.fsdecode(target))
        rename(source, target, **options)

    def saved(self, tensors: Any, file: Path, metadata: Any) -> None:
        """The library writes by itself, and tells of an error in its own way."""
        try:
            self.call("write", file)
        except OSError as error:
            Path(file).touch()
            told = f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
            raise SafetensorError(told) from None
        SAVE(tensors, file, metadata)

    def install(self) -> None:
        """Watch this process's calls from now on."""
        for owner, name, call in (
            (builtins, "open", self.opened),
            (io, "open", self.opened),
            (os, "open", self.opened_low),
            (os, "fsync", self.flushed),
            (os, "replace", partial(self.renamed, os.replace)),
            (os, "rename", partial(self.renamed, os.rename)),
            (checkpoint, "save_file", self.saved),
        ):
            setattr(owner, name, call)


class _Watched(io.FileIO):
    """A file whose writes are calls."""

    call: Callable[[str, Any], None]

    def write(self, data: Any) -> int:
        self.call("write", self.name)
        return super().write(data)


@dataclass(frozen=True)
class Ended:
    """How a child ended: its status (-1: by an exception that nobody caught), what it said, and the calls that it made."""

    status: int
    said: str
    calls: list[str]


def in_child(command: Callable[[], int], faults: Faults, apart: Path) -> Ended:
    """Run a command in a fork of this process. What it says goes to a file in `apart`, which no fault touches."""
    said, calls = apart / "said", apart / "calls"
    child = os.fork()
    if child == 0:
        status = -1
        try:
            sys.stdout = sys.stderr = said.open("w", buffering=1, errors="backslashreplace")
            faults.install()
            status = command()
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            calls.write_text("\n".join(faults.calls))
            sys.stdout.flush()
            os._exit(status & 0xFF)
    _, code = os.waitpid(child, 0)
    assert os.WIFEXITED(code), f"the child was ended by signal {os.WTERMSIG(code)}:\n{said.read_text()}"
    status = os.WEXITSTATUS(code)
    return Ended(-1 if status == 0xFF else status, said.read_text(), calls.read_text().splitlines())


def planned(calls: list[str], step: int) -> Iterator[tuple[int, int]]:
    """The numbers of calls, every `step`-th, each with an error; all errors of its kind where every call has its turn."""
    turns = {kind: cycle(errors) for kind, errors in ERRORS.items()}
    for number, call in enumerate(calls, 1):
        kind = call.partition(" ")[0]
        for error in ERRORS[kind] if step == 1 else [next(turns[kind])] if number % step == 0 else []:
            yield number, error


def counted(name: str, calls: list[str], tried: int) -> str:
    """What was tried of a command, in words."""
    kinds = sorted(Counter(call.partition(" ")[0] for call in calls).items())
    each = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return f"{name}: {len(calls)} calls ({each}); {tried} failures tried"
