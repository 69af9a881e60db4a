"""Commands in this process, which has torch already: pages and sweeps without the seconds that a new process takes."""

from __future__ import annotations

import re
import shlex

from support.checkout import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.grid import Cell
from fedsynth.benchmarks.running.processes import FinishedCell
from fedsynth.benchmarks.running.training.execute import settle


def block(page: str, language: str) -> str:
    """The only block of a page of docs/ in this language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)
    assert isinstance(found, str)
    return found


def run_commands(page: str) -> None:
    """Run the `fedsynth` commands of a page's console block; every one must succeed."""
    for line in block(page, "console").splitlines():
        prompt, program, *words = shlex.split(line)
        assert (prompt, program) == ("$", "fedsynth")
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
