"""Runs in processes of their own, so many at a time. The death of one leaves a note in the store and takes no other down."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from ..config.grid import Cell
from ..records.store import State, Store
from .training.execute import Ending
from .worker import settle_and_tell

PRELOADED = ("torch._dynamo",)  # the first optimiser imports it, which would take each process a second
PATIENCE = 30.0  # seconds that a run gets to stop
TAIL = 20_000  # characters of what a process printed before it died


class ProcessDied(Exception):
    """A process ended without a word."""


@dataclass(frozen=True, eq=False)
class Job:
    """A cell at work."""

    cell: Cell
    process: ForkServerProcess
    told: Connection
    output: Path
    began: float


@dataclass(frozen=True)
class FinishedCell:
    """A cell whose process has ended."""

    cell: Cell
    ending: Ending
    seconds: float


class ProcessPool:
    """The processes at work; use it as a context, which stops those that are left."""

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # for what a run computes outside torch
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([settle_and_tell.__module__, *PRELOADED])
        self.folder = TemporaryDirectory(prefix="fedsynth-")
        self.jobs: list[Job] = []
        self.started = 0

    def start(self, cell: Cell) -> None:
        """Begin a cell."""
        self.started += 1
        output = Path(self.folder.name) / str(self.started)
        told, telling = self.context.Pipe(duplex=False)
        process = self.context.Process(target=settle_and_tell, args=(cell, telling, output))
        try:
            process.start()
        except (ConnectionError, EOFError):  # the process that all are forked from was killed; another takes its place
            time.sleep(1.0)
            process.start()
        telling.close()  # so that the pipe ends with the process
        self.jobs.append(Job(cell, process, told, output, time.monotonic()))

    def wait(self, seconds: float) -> list[FinishedCell]:
        """The cells that have ended. Waits for the first of them, but no longer than so many seconds."""
        ready = wait([job.process.sentinel for job in self.jobs], seconds)
        ended = [job for job in self.jobs if job.process.sentinel in ready]
        self.jobs = [job for job in self.jobs if job not in ended]
        return [FinishedCell(job.cell, ending(job), time.monotonic() - job.began) for job in ended]

    def stop(self) -> None:
        """Stop every process, at once when interrupted again. Each run can go on from its last checkpoint."""
        for job in self.jobs:
            job.process.terminate()
        deadline = time.monotonic() + PATIENCE
        try:
            for job in self.jobs:
                job.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for job in self.jobs:
                job.process.kill()
                job.process.join()
            self.jobs = []

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self.folder.cleanup()


def ending(job: Job) -> Ending:
    """How a job's process ended: as it told, or else a note in the store says how it died."""
    job.process.join()
    try:
        if job.told.poll():
            found: Ending = job.told.recv()
            return found
    except (EOFError, OSError):  # it died before or while it told
        pass
    finally:
        job.told.close()
    code = job.process.exitcode or 0
    by = f"killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with status {code}"
    more = "; the machine may have been out of memory" if -code == signal.SIGKILL else ""
    died = ProcessDied(f"{by}{more}")
    printed = job.output.read_text("utf-8", "replace")[-TAIL:] if job.output.exists() else ""
    if printed.strip():
        died.add_note(printed)
    store, run = Store(Path(job.cell.run.results)), job.cell.name
    try:
        with store.claim(run) as mine:
            if not mine:
                return Ending(State.running, f"{died}; another process works on it now")
            if (before := store.status(run).state) in (State.done, State.diverged):
                return Ending(before, before.value)
            store.begin(run, job.cell.asked)
            store.fail(run, died)
    except OSError as error:
        return Ending(State.failed, f"failed: {died}, and it cannot be noted: {error}")
    return Ending(State.failed, f"failed: {died}")
