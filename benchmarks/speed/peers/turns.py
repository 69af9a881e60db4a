"""The line protocol of a worker, which lets one program take turns between engines.

A worker prints a line of JSON that says what it is, then runs one round for every line that it reads and answers with a
line of JSON: `seconds` (wall), `cpu_seconds` (user and system, all threads) and `loss` (mean over sites and local steps of
the generator's). It ends when its input ends. What an engine prints itself goes to the error stream.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import torch

from fedsynth.benchmarks.speed.peers.job import Job


class Turns:
    """A worker's side. `engine`: the package whose version is reported, `round`: the one being run, from 1."""

    def __init__(self, job: Job, engine: str, cpu: Callable[[], float] = time.process_time) -> None:
        torch.set_num_threads(job.threads)
        self.round, self._cpu = 0, cpu
        self._answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._say(engine=f"{engine} {version(engine)}", torch=torch.__version__, job=job.arguments())

    def wait(self) -> bool:
        """Wait for the next round to be asked for, and start its clocks; False if there will be none."""
        if not sys.stdin.readline():
            return False
        self.round += 1
        self._started = time.perf_counter(), self._cpu()
        return True

    def done(self, loss: float, **more: float) -> None:
        """Stop the clocks, once the device is done, and answer."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds, cpu = time.perf_counter() - self._started[0], self._cpu() - self._started[1]
        self._say(round=self.round, seconds=seconds, cpu_seconds=cpu, loss=loss, **more)

    def _say(self, **answer: object) -> None:
        print(json.dumps(answer), file=self._answers)
