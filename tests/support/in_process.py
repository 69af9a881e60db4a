"""Commands in this process, which has torch already: pages and sweeps without the seconds that a new process takes."""

from __future__ import annotations

import shlex

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.grid import Cell
from fedsynth.benchmarks.running.processes import FinishedCell
from fedsynth.benchmarks.running.training.execute import settle


def run_commands(script: str) -> None:
    """Run the `fedsynth` commands of a script, one a line; every one must succeed."""
    for line in script.splitlines():
        program, *words = shlex.split(line)
        assert program == "fedsynth"
        assert main(words) == 0, line


class InProcessPool:
    """A sweep's pool whose cells are trained here, one after another."""

    def __init__(self, threads: int) -> None:
        self.jobs: list[FinishedCell] = []

    def __enter__(self) -> InProcessPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.jobs = []

    def start(self, cell: Cell) -> None:
        self.jobs.append(FinishedCell(cell, settle(cell), 1.0))

    def wait(self, seconds: float) -> list[FinishedCell]:
        return [self.jobs.pop(0)]
