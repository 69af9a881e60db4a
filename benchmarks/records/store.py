"""The folder of runs: what is finished, running, half-finished or failed, and who may work on a run now.

`<results>/runs/<run>/` holds `identity.json` (what the run is, and where its data lie), `progress.json` (how far it came),
`lock`, the trainer's checkpoint, `attempt-<n>.txt` for each failure. Once the run is finished it holds `record.json` with its
tables (record.py), its pictures `gallery.npz`, its model `model.safetensors` and `identity.json`, which an export reads, and
nothing else but the lock. A published store keeps its finished runs in `<results>/records*.zip` (archive.py).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.resources.abc import Traversable
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fedsynth.runtime.atomic import write_atomically
from fedsynth.runtime.claim import STALE, claim, is_claimed, is_lock, lock_fault

from .archive import FILES, archives, kept_in
from .lifting import IdentityError, lifted
from .record import RUN, Record, RecordError, read_record


class State(Enum):
    """The states of a run in the store."""

    done = "done"
    diverged = "diverged"
    running = "running"  # another process works on it now
    unfinished = "half-finished"  # it was interrupted; the same command continues it
    failed = "failed"  # the last attempt ended in an error; the same command tries again
    damaged = "damaged"  # its record cannot be trusted


FINISHED = (State.done, State.diverged)
# Where SLURM, PBS, LSF and Grid Engine say which job a process is in.
JOB_IDS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
KEPT = (*FILES, "identity.json", "gallery.npz", "model.safetensors")  # of a finished run


@dataclass(frozen=True)
class RunStatus:
    """The state of a run, and how far it came."""

    run: str
    state: State
    round: int = 0  # the last round that was begun, 0 for none
    rounds: int = 0
    reason: str = ""  # why it failed, diverged, ended below the floor or is damaged
    note: Path | None = None  # of a failed run: the file that has the traceback
    place: str = ""  # of a running run: the job of a scheduler that has it


class Store:
    """The runs under `<results>/runs`."""

    def __init__(self, results: Path) -> None:
        self.runs = results / "runs"

    @cached_property
    def _lock_fault(self) -> str:
        """Why locks there may not hold on other machines, so that runs are claimed by leases; empty if they do."""
        return lock_fault(self.runs)

    @property
    def claiming(self) -> str:
        """How runs are claimed, for who trains; empty where it is by locks, of which nobody need know."""
        if not self._lock_fault:
            return ""
        return (
            f"{self.runs} is on {self._lock_fault}; so runs are claimed by leases, and one whose process dies "
            f"elsewhere is free after {STALE:.0f} s"
        )

    def folder(self, run: str) -> Path:
        """Where a run trains."""
        return self.runs / run

    def kept(self, run: str) -> Traversable:
        """Where the record of a run is: in its folder, or in an archive of the store."""
        folder = self.folder(run)
        return folder if (folder / "record.json").is_file() else self._archived[0].get(run, folder)

    def __contains__(self, run: str) -> bool:
        return run in self._archived[0] or self.folder(run).exists()

    @cached_property
    def _archived(self) -> tuple[dict[str, Traversable], list[str]]:
        """The runs in archives, and for each archive or run that cannot be read the reason."""
        found: dict[str, Traversable] = {}
        damaged = []
        for path in archives(self.runs.parent):
            try:
                kept = kept_in(path)
            except RecordError as error:
                damaged.append(str(error))
                continue
            found |= {run: folder for run, folder in kept.items() if RUN.fullmatch(run)}
            damaged += [f"{path}: {run!r} is not the name of a run" for run in kept if not RUN.fullmatch(run)]
        return found, damaged

    @property
    def unreadable(self) -> list[str]:
        """Why archives, or runs in them, cannot be read; empty where all can."""
        return self._archived[1]

    def names(self, patterns: Sequence[str] = ()) -> list[str]:
        """The runs whose names match any of the shell-style patterns (all without one), sorted."""
        found = self.runs.iterdir() if self.runs.is_dir() else ()
        folders = {path.name for path in found if RUN.fullmatch(path.name) and path.is_dir()}
        names = sorted(folders.union(self._archived[0]))
        return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]

    def records(
        self, patterns: Sequence[str] = (), read: Callable[[Traversable], Record] = read_record
    ) -> tuple[list[Record], list[str]]:
        """The records of the finished runs, by name, and for those that cannot be trusted the reason; `read` reads a folder."""
        records, damaged = [], [*self.unreadable]
        for name in tqdm(self.names(patterns), "reading", unit="run", disable=None, leave=False):
            try:
                records.append(read(self.kept(name)))
            except FileNotFoundError:
                continue
            except RecordError as error:
                damaged.append(str(error))
        return records, damaged

    def record(self, run: str) -> Record | None:
        """The run's record, or None if it is not finished. Raises RecordError for a damaged one."""
        try:
            return read_record(self.kept(run))
        except FileNotFoundError:
            return None

    def identity(self, run: str) -> dict[str, Any]:
        """The identity of a run that was begun, as today's would be; empty where it cannot be read."""
        try:
            return lifted(self.asked(run))
        except IdentityError:
            return {}

    def asked(self, run: str) -> dict[str, Any]:
        """The identity of a run that was begun, as it was written, with all options of its data set; empty where it cannot be
        read."""
        for name, inside in (("identity.json", ()), ("record.json", ("identity",))):
            try:
                found = json.loads((self.kept(run) / name).read_bytes())
                return dict(found[inside[0]] if inside else found)
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                continue
        return {}

    def begin(self, run: str, asked: Mapping[str, Any]) -> None:
        """Note the identity of the run, with where its data lie, and that an attempt begins in the round in which the last one
        ended."""
        write_atomically(self.folder(run) / "identity.json", json.dumps(asked, indent=1).encode())
        self.note(run, self._progress(run)["round"], asked["trainer"]["rounds"])

    def note(self, run: str, round: int, rounds: int, failed: str = "") -> None:
        """Note which round the run has reached, and why it stopped there if it failed."""
        progress = {"round": round, "rounds": rounds, "failed": failed, "place": workplace()}
        write_atomically(self.folder(run) / "progress.json", json.dumps(progress).encode())

    def fail(self, run: str, error: BaseException) -> Path:
        """Write a note of a failed attempt, a text: the time, the reason, and the traceback. Returns its path."""
        reason, progress = f"{type(error).__name__}: {error}", self._progress(run)
        path = self.folder(run) / f"attempt-{len(self.notes(run)) + 1}.txt"
        told = datetime.now(UTC).isoformat(timespec="seconds"), reason, "", *traceback.format_exception(error)
        write_atomically(path, "\n".join(told).encode("utf-8", "backslashreplace"))
        self.note(run, progress["round"], progress["rounds"], reason)
        return path

    def notes(self, run: str) -> list[Path]:
        """The notes of the run's failed attempts, the first one first."""
        found = {path.stem.removeprefix("attempt-"): path for path in self.folder(run).glob("attempt-*.txt")}
        return [found[number] for number in sorted(filter(str.isdecimal, found), key=int)]

    def tidy(self, run: str) -> None:
        """Delete what a finished run needed on its way. Only the process that has claimed the run may call this."""
        for path in self.folder(run).iterdir():
            if path.name not in KEPT and not is_lock(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def set_aside(self, run: str) -> Path:
        """Move all that a run left to `<results>/damaged`, so that it can be trained again. Only the process that has claimed the
        run may call this. Returns the new place."""
        folder = self.runs.parent / "damaged"
        place = next(place for number in count(1) if not (place := folder / f"{run}-{number}").exists())
        place.mkdir(parents=True)
        record_first = sorted(self.folder(run).iterdir(), key=lambda path: path.name != "record.json")
        for path in record_first:  # without its record the run counts as unfinished, wherever this is interrupted
            if not is_lock(path):
                path.rename(place / path.name)
        return place

    @contextmanager
    def claim(self, run: str) -> Iterator[bool]:
        """Whether this process may work on the run. It may until the block ends, and no other process may meanwhile."""
        with claim(self.folder(run) / "lock", self.folder(run), bool(self._lock_fault)) as mine:
            yield mine

    def status(self, run: str) -> RunStatus:
        """The state of the run now. A process that works on it is not disturbed."""
        # asked first, so that a run which finishes meanwhile is done and not half-finished
        claimed = is_claimed(self.folder(run) / "lock", bool(self._lock_fault))
        try:
            if (record := self.record(run)) is not None:
                rounds = record.identity["trainer"]["rounds"]
                return RunStatus(run, State[record.status], rounds, rounds, record.reason)
        except RecordError as error:
            return RunStatus(run, State.damaged, reason=str(error))
        progress = self._progress(run)
        state = State.running if claimed else State.failed if progress["failed"] else State.unfinished
        note = next(reversed(self.notes(run)), None) if state is State.failed else None
        place = progress["place"] if claimed else ""
        return RunStatus(run, state, progress["round"], progress["rounds"], progress["failed"], note, place)

    def _progress(self, run: str) -> dict[str, Any]:
        try:
            found = json.loads((self.folder(run) / "progress.json").read_bytes())
            kinds = {"round": int, "rounds": int, "failed": str}
            return {name: kind(found[name]) for name, kind in kinds.items()} | {"place": str(found.get("place", ""))}
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            # damaged: only how far the run came is unknown
            return {"round": 0, "rounds": 0, "failed": "", "place": ""}


def workplace() -> str:
    """The job of a scheduler in which this process is, and the machine; empty outside of one."""
    job = next((os.environ[name] for name in JOB_IDS if name in os.environ), "")
    return job and f"job {job} on {socket.gethostname()}"
