"""`fedsynth sweep`: what is trained in which order, what is noted of a death, when it stops, what is said, the exit status."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import finished
from support.source import ROOT
from support.stores import TINY

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.grid import Cell
from fedsynth.benchmarks.records.store import State, Store
from fedsynth.benchmarks.running import sweep as sweep_module
from fedsynth.benchmarks.running.engine import Engine
from fedsynth.benchmarks.running.processes import LocalEngine
from fedsynth.benchmarks.running.training.estimate import Forecast
from fedsynth.benchmarks.running.training.execute import Ending

DONE = Ending(State.done, "done")
ELSEWHERE = Ending(State.running, "another process works on it")

Act = Callable[[Cell], Ending]


class Scripted(Executor):
    """An engine whose cells end as a function says, at once, and leave records where done."""

    def __init__(self, act: Act) -> None:
        self.act, self.started = act, list[str]()

    def submit(self, function: Any, packed: bytes) -> Future[Ending]:
        cell, future = pickle.loads(packed), Future[Ending]()
        self.started.append(cell.name)
        try:
            ending = self.act(cell)
        except ArithmeticError as error:
            future.set_exception(error)
            return future
        if ending.state is State.done:
            finished.finish(Store(Path(cell.run.results)), cell.identity)
        future.set_result(replace(ending, seconds=2.0))
        return future


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def sweep(results: Path, act: Act, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, list[str]]:
    """The exit status, and the methods and seeds that were tried."""
    engine = Scripted(act)
    monkeypatch.setattr(Engine, "start", lambda *given: engine)
    status = main(["sweep", *TINY, "--results", str(results), "method=local,fedavg", *words])
    return status, ["-".join(name.split("-")[::2][:2]) for name in engine.started]


def fail(reason: str) -> Act:
    return lambda cell: Ending(State.failed, f"failed: {reason.format(cell.name)}")


def test_every_seed_s_cells_come_before_the_next_and_finished_ones_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, tried = sweep(tmp_path, lambda _: DONE, monkeypatch, "seed=0,1", "--jobs", "3")
    assert (status, tried) == (0, ["local-s0", "fedavg-s0", "local-s1", "fedavg-s1"])
    said = capsys.readouterr().err
    assert "4 cells, all checked: 4 not begun\n4 to train, 3 at a time: no estimate yet" in said
    assert said.count(": done (2 s") == 4
    assert "[4/4] " in said
    assert "4 cells: 4 done" in said
    assert "To go on" not in said
    status, tried = sweep(tmp_path, lambda _: DONE, monkeypatch, "--dry", "seed=0,1,2")
    assert (status, tried) == (0, [])
    said = capsys.readouterr().err
    assert "6 cells, all checked: 4 done, 2 not begun\n2 to train, " in said
    assert "at a time: about " in said
    assert main(["sweep", *TINY, "--results", str(tmp_path), "method=local", "--dry"]) == 0
    assert "1 cell, all checked: 1 done\n" in capsys.readouterr().err


def test_what_failed_is_not_tried_again_in_the_same_sweep_and_last_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(cell: Cell) -> Ending:
        if cell.run.seed or cell.name.startswith("fedavg"):
            return DONE
        store = Store(tmp_path)
        with store.claim(cell.name):
            store.begin(cell.name, cell.identity)
            store.fail(cell.name, RuntimeError("no luck"))
        return Ending(State.failed, "failed: RuntimeError: no luck")

    status, tried = sweep(tmp_path, act, monkeypatch, "seed=0,1")
    assert (status, tried) == (1, ["local-s0", "fedavg-s0", "local-s1", "fedavg-s1"])
    said = capsys.readouterr().err
    assert "4 cells: 3 done, 1 failed\n  local-common-s0-" in said
    assert (
        f"To go on where it stopped:\n  fedsynth sweep {' '.join(TINY[:-1])} 'scenario.sites=[ixi,oasis]' --results "
        in said
    )
    status, tried = sweep(tmp_path, lambda _: DONE, monkeypatch, "seed=0,1,2")
    assert (status, tried) == (0, ["local-s2", "fedavg-s2", "local-s0"])


@pytest.mark.parametrize(
    ("reason", "tried"), [("OSError: {0}/7: no such volume", 4), ("the same, but not {0} nor {{0}}", 4)]
)
def test_a_sweep_stops_where_the_first_all_fail_alike(
    reason: str, tried: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, names = sweep(tmp_path, fail(reason), monkeypatch, "seed=0,1,2,3", "--jobs", "1")
    assert (status, len(names)) == (1, tried)
    said = capsys.readouterr().err
    assert "stopped early: the first 4 cells all failed alike" in said
    assert " and 3 more: failed: " in said


def test_it_goes_on_where_they_fail_differently_or_one_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = iter("abcdefgh")
    status, names = sweep(tmp_path, lambda _: fail(next(reasons))(_), monkeypatch, "seed=0,1,2,3", "--jobs", "1")
    assert (status, len(names)) == (1, 8)
    endings = iter([DONE, *[Ending(State.failed, "failed: alike")] * 7])
    status, names = sweep(tmp_path, lambda _: next(endings), monkeypatch, "seed=0,1,2,3", "--jobs", "1")
    assert (status, len(names)) == (1, 8)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_it_stops_where_the_disk_takes_no_more(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, names = sweep(
        tmp_path, fail(f"OSError: [Errno {number}] {os.strerror(number)}: 'x'"), monkeypatch, "--jobs", "1"
    )
    assert (status, len(names)) == (1, 1)
    said = capsys.readouterr().err
    assert f"stopped early: {tmp_path} cannot be written: {os.strerror(number)}. Make room there" in said
    assert "To go on where it stopped" in said


def test_a_store_that_cannot_be_written_is_said_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file")
    status, names = sweep(tmp_path / "results", lambda _: DONE, monkeypatch)
    assert (status, names) == (2, [])
    assert f"{tmp_path / 'results' / 'runs'} cannot be written: " in capsys.readouterr().err


def test_what_another_works_on_is_left_and_looked_at_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    endings = iter([ELSEWHERE, ELSEWHERE, DONE, DONE, DONE, DONE])

    def act(cell: Cell) -> Ending:
        ending = next(endings)
        if ending is ELSEWHERE and cell.name.startswith("fedavg"):  # and the other one finishes it; local's dies
            finished.finish(Store(tmp_path), cell.identity)
        return ending

    status, tried = sweep(tmp_path, act, monkeypatch, "seed=0,1", "--jobs", "1")
    assert (status, tried) == (0, ["local-s0", "fedavg-s0", "local-s1", "fedavg-s1", "local-s0"])
    assert "4 cells: 4 done" in capsys.readouterr().err


def test_a_sweep_waits_for_what_another_trains_and_takes_it_up_should_that_one_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scheduler that lost sight of a job begins it again, while its process trains on: the new job would end in seconds, as if
    all were done, and nobody would come back."""
    looks = count()
    monkeypatch.setattr(sweep_module, "REFRESH", 0.0)
    state = sweep_module.Sweep.state

    def seen(self: sweep_module.Sweep, cell: Cell) -> State | None:
        return State.running if cell.name.startswith("local") and next(looks) < 8 else state(self, cell)

    monkeypatch.setattr(sweep_module.Sweep, "state", seen)
    status, tried = sweep(tmp_path, lambda _: DONE, monkeypatch)
    assert (status, tried) == (0, ["fedavg-s0", "local-s0"])
    said = capsys.readouterr().err
    assert said.count("waiting for 1 cell of other processes") == 1
    assert "[2/2] local-" in said


def test_a_cell_that_kills_whoever_has_it_is_left_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where runs are claimed by leases, nobody can tell at once a dead process on another machine from one that trains on."""
    store, rounds = Store(tmp_path), iter((1, 1, *[2] * 20))

    def act(cell: Cell) -> Ending:
        with store.claim(cell.name):
            store.begin(cell.name, cell.identity)
            store.note(cell.name, next(rounds), 16)
        return ELSEWHERE

    status, tried = sweep(tmp_path, act, monkeypatch, "method=fedavg")
    assert (status, len(tried)) == (1, 6)  # twice in round 1, and as often as it may in round 2
    assert "[1/1] fedavg-" in (said := capsys.readouterr().err)
    assert "1 cell: 1 failed" in said
    assert "ProcessDied: 4 processes that had it died in round 2" in store.status(*store.names()).reason


@pytest.mark.parametrize(("variable", "cores"), [("SLURM_CPUS_PER_TASK", 3), ("SLURM_CPUS_ON_NODE", 2), ("", 5)])
def test_as_many_at_a_time_as_a_container_or_a_job_gives(
    variable: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))  # a job that is not bound to its cores
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "5")  # which joblib takes with the quota of the container
    if variable:
        monkeypatch.setenv(variable, str(cores))
    sweep(tmp_path, lambda _: DONE, monkeypatch, "seed=0,1,2", "--dry")
    assert f"6 to train, {cores} at a time" in capsys.readouterr().err


class ManagerLost(ArithmeticError):
    """As Parsl raises where a job of the scheduler ended."""


class WorkerLost(ArithmeticError):
    """As Parsl raises where a process of a job died."""


def test_a_cell_whose_job_ends_goes_on_as_long_as_it_comes_further_and_one_whose_process_dies_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds, store = iter((1, 3, 3)), Store(tmp_path)

    def act(cell: Cell) -> Ending:
        if cell.name.startswith("local"):
            raise WorkerLost("worker 3 on n1")
        with store.claim(cell.name):
            store.begin(cell.name, cell.identity)
            store.note(cell.name, next(rounds), 16)
        raise ManagerLost("the job on n2")

    status, tried = sweep(tmp_path, act, monkeypatch, "--jobs", "1")
    assert (status, tried) == (1, ["local-s0", "fedavg-s0", "fedavg-s0", "fedavg-s0"])
    said = capsys.readouterr().err
    assert "2 cells: 1 half-finished, 1 failed" in said
    assert said.count("interrupted: the job on n2") == 3
    assert {store.status(name).reason for name in store.names()} == {"", "WorkerLost: worker 3 on n1"}


def test_a_sweep_stops_where_its_engine_fails_and_blames_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, tried = sweep(tmp_path, lambda _: 1 // 0, monkeypatch, "--jobs", "1")
    assert (status, tried) == (1, ["local-s0"])
    said = capsys.readouterr().err
    assert "stopped early: the engine gave up: ZeroDivisionError" in said
    assert "2 cells: 2 not begun" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("import no_such_library", "No module named 'no_such_library'; install no_such_library in this environment"),
        ("import parsl.no_such_part", "; `pip install 'fedsynth[cluster]'` installs Parsl"),
        ("from os import no_such_name", "; correct the file"),
        ("settings = 1", "gives no `config`: KeyError"),
    ],
)
def test_an_engine_that_is_not_here_is_refused(
    text: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text:
        (tmp_path / "site.py").write_text(text)
    words = [*TINY, "method=fedavg", "--results", str(tmp_path), f"engine={tmp_path / 'site.py'}"]
    assert main(["sweep", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_misspelt_engine_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *TINY, "method=fedavg", "enigne=site.py", "--results", str(tmp_path)]) == 2
    assert "there is no option 'enigne'; the nearest: engine" in capsys.readouterr().err


def test_several_share_a_gpu_if_runs_like_them_left_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep_module, "cores", lambda: 64)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda number: SimpleNamespace(total_memory=24 << 30))
    words = ("trainer.device=cuda", f"seed={','.join(map(str, range(16)))}", "--dry")
    sweep(tmp_path, lambda _: DONE, monkeypatch, *words)
    assert "32 to train, 4 at a time" in capsys.readouterr().err
    monkeypatch.setattr(Forecast, "gpu_memory", lambda self, identity: float(10 << 30))
    sweep(tmp_path, lambda _: DONE, monkeypatch, *words)
    assert "32 to train, 8 at a time" in capsys.readouterr().err


@pytest.mark.slow
def test_each_process_sees_one_gpu() -> None:
    engine = LocalEngine(2, 1, ["2", "GPU-7"])
    try:
        assert {engine.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() for _ in range(2)} == {"2", "GPU-7"}
    finally:
        engine.shutdown()


def test_an_interrupted_sweep_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(cell: Cell) -> Ending:
        os.kill(os.getpid(), signal.SIGTERM)
        return DONE

    status, _ = sweep(tmp_path, interrupt, monkeypatch, "seed=0,1")
    assert status == 130
    assert "fedsynth: stopped early: interrupted\n4 cells: " in (said := capsys.readouterr().err)
    assert "To go on where it stopped:\n  fedsynth sweep experiment=smoke" in said


def test_a_command_that_cannot_be_run_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, names = sweep(tmp_path, lambda _: DONE, monkeypatch, "trainer.lr=0,1")
    assert (status, names) == (2, [])
    assert "trainer.lr is 0" in capsys.readouterr().err
    assert sweep(tmp_path, lambda _: DONE, monkeypatch, "--jobs", "-1") == (2, [])


PLUGIN = """
import os, signal, sys
from fedsynth.methods.fedavg import FedAvg

class Killed(FedAvg):
    def step(self, site, batch):
        print("the last words of", site.name, file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)

class Crashed(FedAvg):
    def step(self, site, batch):
        import ctypes
        ctypes.string_at(0)

class Gone(FedAvg):
    def step(self, site, batch):
        os._exit(3)

class Wrong(FedAvg):
    def step(self, site, batch):
        raise ArithmeticError("seven times six")
"""


@pytest.mark.slow
def test_the_death_of_a_process_is_noted_and_takes_no_other_down(tmp_path: Path) -> None:
    (tmp_path / "deaths.py").write_text(PLUGIN)
    command = [*TINY, "--results", str(tmp_path), "method=killed,crashed,gone,wrong,local", "--jobs", "2"]
    ended = subprocess.run(
        [sys.executable, "-m", "fedsynth.benchmarks.cli", "sweep", *command],
        cwd=ROOT,
        env=os.environ | {"FEDSYNTH_PLUGINS": str(tmp_path / "deaths.py")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "method=killed,crashed,gone,wrong,local --jobs 2" in ended.stderr
    states = {name.partition("-")[0]: Store(tmp_path).status(name) for name in Store(tmp_path).names()}
    assert states.pop("local").state in (State.done, State.diverged)
    assert {state.state for state in states.values()} == {State.failed}
    assert "killed by signal 9 (Killed)" in states["killed"].reason
    assert "killed by signal 11 (Segmentation fault)" in states["crashed"].reason
    assert "ended with status 3" in states["gone"].reason
    assert "ArithmeticError: seven times six" in states["wrong"].reason
    notes = {
        path.parent.name.partition("-")[0]: path.read_text().splitlines()
        for path in tmp_path.glob("runs/*/attempt-1.txt")
    }
    assert "the last words of ixi" in notes["killed"]
    assert any(line.endswith("in step") for line in notes["crashed"])  # of Python, by faulthandler
    assert ended.stderr.count("ArithmeticError: seven times six") == 2  # when it failed and at the end


def test_a_device_that_is_not_here_can_be_planned_and_is_refused_before_anything_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login node plans what a node with a GPU trains, under the same names."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = [*TINY, "method=fedavg", "trainer.device=cuda", "--results", str(tmp_path)]
    assert main(["sweep", *words, "--dry"]) == 0
    assert main(["status", *words]) == 0
    assert "1 not begun" in capsys.readouterr().out
    for verb in ("sweep", "run"):
        assert main([verb, *words]) == 2
        said = capsys.readouterr().err
        assert "trainer.device is 'cuda', and this machine has cpu; train on one that has it" in said
        assert not (tmp_path / "runs").exists()
    assert main(["sweep", *words[:-3], "trainer.device=cuba", "--results", str(tmp_path), "--dry"]) == 2
    assert "trainer.device is 'cuba'; it can be auto, cpu, cuda" in capsys.readouterr().err
