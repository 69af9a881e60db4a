"""Sweeps on a SLURM of two nodes, and by Parsl on this machine, lose processes, jobs, nodes, time, places and drivers.

Each ends with the tensors and scores of a sweep on one machine, a record a cell, and no round that two processes trained; all the
while `fedsynth status` says who trains what.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from support import slurm as slurm_module
from support.slurm import PROC, Slurm, until
from support.source import ROOT
from support.stores import TINY

from fedsynth.benchmarks.records.store import FINISHED, State, Store
from fedsynth.benchmarks.running.status import look

CELLS, ROUNDS = 52, 6
WORDS = (*TINY, f"trainer.rounds={ROUNDS}", "method=paced", f"seed={','.join(map(str, range(CELLS)))}")
LONG = 1200.0  # seconds within which a sweep comes as far as the next disturbance, or to its end

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not PROC.is_dir(), reason="finds processes in /proc"),
]
needs_parsl = pytest.mark.skipif(find_spec("parsl") is None, reason="needs Parsl: pip install 'fedsynth[cluster]'")

PLUGIN = """
import os, time
from pathlib import Path
from fedsynth.methods.fedavg import FedAvg

class Paced(FedAvg):
    '''Takes its time, so that there is something to disturb, and writes down which process trained a site in which round.'''

    def upload(self, site):
        time.sleep(0.2)
        opened = [Path(os.path.realpath(path)) for path in Path("/proc/self/fd").iterdir()]
        (log,) = [path for path in opened if path.name == "run.log"]
        with (log.parents[2] / "journal").open("a") as file:
            file.write(f"{log.parent.name} {site.round} {site.name} {os.getpid()}\\n")
        return super().upload(site)
"""
PARSL = """
from parsl import Config
from parsl.executors import HighThroughputExecutor
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.launchers import SrunLauncher
from parsl.providers import LocalProvider, SlurmProvider

executor = HighThroughputExecutor(
    address="127.0.0.1",
    max_workers_per_node=2,
    heartbeat_period=2,
    heartbeat_threshold=10,
    block_error_handler=windowed_error_handler,
    provider={provider},
)
config = Config(executors=[executor], retries=2, run_dir={folder!r})
"""
LOCALLY = "LocalProvider(init_blocks=1, max_blocks=1)"
IN_JOBS = "SlurmProvider(partition='main', init_blocks=2, max_blocks=2, launcher=SrunLauncher())"


def results_of(results: Path) -> dict[str, tuple[str, bytes]]:
    """Of every finished run: the digest of its final tensors, and its scores."""
    return {
        path.parent.name: (json.loads(path.read_text())["digest"], (path.parent / "scores.csv").read_bytes())
        for path in results.glob("runs/*/record.json")
    }


class Watched:
    """A store of a sweep, while it is trained."""

    def __init__(self, results: Path, plugin: Path, slurm: Slurm | None = None) -> None:
        self.results, self.slurm = results, slurm
        self.environment = (slurm.environment if slurm else os.environ) | {
            "OMP_NUM_THREADS": "1",
            "FEDSYNTH_PLUGINS": str(plugin),
        }

    def command(self, *more: str) -> list[str]:
        own = ["sweep", *WORDS, "--results", str(self.results), *more]
        return [sys.executable, "-m", "fedsynth.benchmarks.cli", *own]

    def begin(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(*more), cwd=ROOT, env=self.environment, stderr=subprocess.PIPE, text=True)

    def holders(self) -> dict[str, int]:
        """Run -> the process that has claimed it, by the kernel's list of locks."""
        runs = {str(path.stat().st_ino): path.parent.name for path in self.results.glob("runs/*/lock")}
        lines = [line.split() for line in (PROC / "locks").read_text().splitlines()]
        held = {inode.rpartition(":")[2]: int(pid) for _, _, _, mode, pid, inode, *_ in lines if mode == "WRITE"}
        return {runs[inode]: pid for inode, pid in held.items() if inode in runs}

    def look(self) -> int:
        """How many cells are done. Holds `fedsynth status` to what the kernel and the scheduler say."""
        jobs, before = self.slurm and self.slurm.jobs("R,CG"), self.holders()
        time.sleep(0.5)
        statuses = look(Store(self.results), None, ())[1]
        after = self.holders()
        jobs = jobs and {*jobs, *self.slurm.jobs("R,CG")}
        for run, status in statuses.items():
            if run in before and before[run] == after.get(run):
                assert status.state in (State.running, *FINISHED), status
                if jobs and status.state is State.running:
                    assert re.fullmatch(r"job (\d+) on .+", status.place)[1] in jobs, (status, jobs)
            elif run not in before and run not in after:
                assert status.state is not State.running, status
        return sum(status.state in FINISHED for status in statuses.values())

    def at_work(self) -> tuple[int, str] | None:
        """A process in the middle of a run, and its job."""
        for run, pid in self.holders().items():
            status = Store(self.results).status(run)
            if status.state is State.running and status.round > 1:
                return pid, status.place.partition(" on ")[0].removeprefix("job ")
        return None

    def disturb(self, disturbances: Sequence[Callable[[int, str], object]]) -> None:
        """Give each a process and its job, whenever some more cells are done."""
        for number, disturbance in enumerate(disturbances, 1):
            least = number * CELLS // (len(disturbances) + 2)
            more = f"{least} cells are not done"
            disturbance(*until(lambda least=least: self.look() >= least and self.at_work(), more, LONG))

    def end(self, driver: subprocess.Popen[str]) -> None:
        """The sweep ends with all its cells."""
        while driver.poll() is None:
            self.look()
        said = driver.communicate()[1]
        assert driver.returncode == 0, said
        assert "Traceback" not in said

    def hold_to(self, whole: Path) -> None:
        """A record a cell, as a sweep on one machine leaves it, and each round trained by one process."""
        assert len(results_of(whole)) == CELLS
        assert results_of(self.results) == results_of(whole)
        lines = [line.split() for line in (self.results / "journal").read_text().splitlines()]
        for run in results_of(whole):
            turns = [(pid, [int(line[1]) for line in own]) for pid, own in by_process(run, lines)]
            assert len({pid for pid, _ in turns}) == len(turns), f"two processes trained {run} at once: {turns}"
            for (_, rounds), (_, later) in pairwise(turns):
                # it may have been lost before it wrote its last round down
                assert rounds[-1] <= later[0] <= rounds[-1] + 1, f"{run} trained rounds again, or none: {turns}"
            assert [*dict.fromkeys(round for _, own in turns for round in own)] == [*range(1, ROUNDS + 1)], turns
        assert any(len(by_process(run, lines)) > 1 for run in results_of(whole)), "no run was disturbed on its way"


def by_process(run: str, lines: Sequence[Sequence[str]]) -> list[tuple[str, list[Sequence[str]]]]:
    """What was written down of a run: processes, one after another, each with its lines."""
    return [(pid, [*own]) for pid, own in groupby((line for line in lines if line[0] == run), lambda line: line[3])]


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "paced.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="module")
def whole(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a sweep on one machine that nobody disturbed."""
    sweep = Watched(tmp_path_factory.mktemp("whole"), plugin)
    sweep.end(sweep.begin("--jobs", "4"))
    return sweep.results


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    if reason := slurm_module.missing():
        pytest.skip(reason)
    with Slurm(tmp_path_factory.mktemp("slurm")) as up:
        yield up


def parent(pid: int) -> int:
    return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def children(pid: int) -> list[int]:
    return [int(child) for path in (PROC / str(pid) / "task").glob("*/children") for child in path.read_text().split()]


class Driven:
    """A sweep whose cells train elsewhere, and what may happen to it."""

    def __init__(self, sweep: Watched, provider: str, folder: Path) -> None:
        (folder / "site.py").write_text(PARSL.format(provider=provider, folder=str(folder / "parsl")))
        self.sweep, self.engine = sweep, f"engine={folder / 'site.py'}"
        self.driver = sweep.begin(self.engine)

    def loses_its_driver(self, pid: int, job: str) -> None:
        self.driver.kill()
        self.driver.communicate(timeout=60)  # until nobody is left who has its standard error: Parsl's own process
        self.driver = self.sweep.begin(self.engine)


def loses_a_worker(pid: int, job: str) -> None:
    kill(pid)


def loses_a_block_of_this_machine(pid: int, job: str) -> None:
    manager = parent(pid)
    for own in (manager, *children(manager)):
        kill(own)


def loses_its_sweep(pid: int, job: str) -> None:
    """In an array, each job is a sweep, and its processes are forked from one of its children."""
    kill(parent(parent(pid)))


@needs_parsl
def test_parsl_on_this_machine(whole: Path, plugin: Path, tmp_path: Path) -> None:
    sweep = Watched(tmp_path / "hurt", plugin)
    driven = Driven(sweep, LOCALLY, tmp_path)
    sweep.disturb([loses_a_worker, loses_a_block_of_this_machine, driven.loses_its_driver])
    sweep.end(driven.driver)
    sweep.hold_to(whole)


@needs_parsl
def test_parsl_on_slurm(slurm: Slurm, whole: Path, plugin: Path, tmp_path: Path) -> None:
    sweep = Watched(tmp_path / "hurt", plugin, slurm)
    driven = Driven(sweep, IN_JOBS, tmp_path)
    sweep.disturb([loses_a_worker, slurm.cancels, slurm.loses_a_node, slurm.expires, slurm.preempts])
    sweep.disturb([driven.loses_its_driver])
    sweep.end(driven.driver)
    sweep.hold_to(whole)


def test_an_array_of_sweeps_on_slurm(slurm: Slurm, whole: Path, plugin: Path, tmp_path: Path) -> None:
    sweep = Watched(tmp_path / "hurt", plugin, slurm)
    words = ["--array=0-3", "--requeue", "--open-mode=append", f"--output={tmp_path}/%a.txt", f"--chdir={ROOT}"]
    array = ["sbatch", "--wait", *words, f"--wrap=exec {shlex.join(sweep.command('--jobs', '1'))}"]
    first = subprocess.Popen(array, env=sweep.environment)
    sweep.disturb([loses_a_worker, slurm.cancels, slurm.loses_a_node, slurm.expires, slurm.preempts, loses_its_sweep])
    while first.poll() is None:
        sweep.look()
    # some jobs were cancelled or killed, and the others ended with all that they could train
    last = subprocess.run(array, env=sweep.environment)
    assert last.returncode == 0, (tmp_path / "0.txt").read_text()
    sweep.hold_to(whole)
