"""The engine of one machine: every call in a process of its own, whose death takes no other down.

All processes are forked from one that has imported worker.py, so one starts in hundredths of a second.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from itertools import count
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

# The first optimiser of a process imports torch._dynamo, which would take each process a second.
PRELOADED = (f"{__package__}.worker", "torch._dynamo")
PATIENCE = 30.0  # seconds that a process gets to stop
TAIL = 20_000  # characters of what a process printed before it died


class ProcessDied(Exception):
    """A process ended without a word."""


class ProcessStopped(Exception):
    """A process was told to stop by somebody else than its engine."""


class LocalEngine(Executor):
    """So many processes at a time. Each sees one of the GPUs, if any are given, so that several may share one."""

    def __init__(self, jobs: int, threads: int, gpus: Sequence[str]) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # for what a run computes outside torch
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([*PRELOADED])
        self.folder = TemporaryDirectory(prefix="fedsynth-")
        self.gpus = SimpleQueue[str]()
        for number in range(jobs):
            self.gpus.put(gpus[number % len(gpus)] if gpus else "")
        self.watching, self.lock, self.numbers = ThreadPoolExecutor(jobs), threading.Lock(), count()
        self.processes = set[Any]()
        self.stopped = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        return self.watching.submit(self.attend, partial(function, *args, **named))

    def attend(self, call: Callable[[], Any]) -> Any:
        """What a call returns in a process of its own. Raises ProcessDied, with what it printed last, or ProcessStopped."""
        gpu, output = self.gpus.get(), Path(self.folder.name) / str(next(self.numbers))
        told, telling = self.context.Pipe(duplex=False)
        process = self.context.Process(target=answer, args=(call, telling, output, gpu))
        try:
            with self.lock:
                self.start(process)
            telling.close()  # so that the pipe ends with the process
            wait([told, process.sentinel])
            if told.poll():
                return told.recv()
        except EOFError:  # it died before or while it told
            pass
        finally:
            told.close()
            wait([process.sentinel])
            with self.lock:  # whoever starts a process looks at all others, and would take the status of this one
                process.join()
            self.processes.discard(process)
            self.gpus.put(gpu)
        raise death(process.exitcode or 0, output)

    def start(self, process: Any) -> None:
        try:
            process.start()
        except (ConnectionError, EOFError):  # the process that all are forked from was killed; another takes its place
            time.sleep(1.0)
            process.start()
        self.processes.add(process)
        if self.stopped:
            process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop every process, at once when interrupted again. Each run can go on from its last checkpoint."""
        self.stopped = True
        self.watching.shutdown(wait=False, cancel_futures=True)
        processes = [*self.processes]
        deadline = time.monotonic() + PATIENCE
        try:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in processes:
                process.kill()
            self.watching.shutdown()
            self.folder.cleanup()


def death(code: int, output: Path) -> Exception:
    """How a process ended, by its status, and what it printed last."""
    if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
        return ProcessStopped("told to stop")
    by = f"killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with status {code}"
    died = ProcessDied(by + "; the machine may have been out of memory" * (-code == signal.SIGKILL))
    printed = output.read_text("utf-8", "replace")[-TAIL:] if output.exists() else ""
    if printed.strip():
        died.add_note(printed)
    return died


def answer(call: Callable[[], Any], told: Connection, output: Path, gpu: str) -> None:
    """Tell what a call returns. What is printed meanwhile goes to a file. Ends with the process that asked."""
    threading.Thread(target=follow, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal: the engine stops its own
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    faulthandler.enable()
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        told.send(call())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def follow(origin: int) -> None:
    """End this process at once when the sweep is gone, or the process that all are forked from. The run can go on later."""
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    while not wait([sweep.sentinel], 1.0) and os.getppid() == origin:
        pass
    os._exit(1)
