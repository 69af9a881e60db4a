"""A sweep that is killed, starved of disk and damaged over and over ends with the table of one that nobody disturbed.

40 cells, two sweeps on one store. Workers, the process that they are forked from and the sweeps themselves are killed at random
moments, a record and a table are damaged, files can no longer be written, a sweep is told to stop; then the same command is
repeated until it is through.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from support.source import ROOT

from fedsynth.benchmarks.records.store import FINISHED, Store

PROC = Path("/proc")
METHODS = "local,fedavg,fedprox,fedbn,fedrep,lgfedavg,ditto,fedmri"
CELLS = (
    *("experiment=smoke", f"method={METHODS}", "seed=0,1,2,3,4", "scenario=common", "scenario.sites=[ixi,oasis]"),
    *("trainer.rounds=3", "trainer.local_steps=2", "network=resnet", "network.blocks=1"),
)
MEASURED = {"seconds a round", "peak memory (MB)"}  # columns of a table that no two runs share
LIMIT = 30_000  # bytes that a file may have where the disk is full: less than a checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PROC.is_dir(), reason="finds processes in /proc")]


def command(results: Path, jobs: int, *more: str) -> list[str]:
    own = ["sweep", *CELLS, *more, "--results", str(results), "--jobs", str(jobs)]
    return [sys.executable, "-m", "fedsynth.benchmarks.cli", *own]


def begin(results: Path, jobs: int, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(results, jobs),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def through(results: Path, jobs: int = 2, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """The exit status, and what was said."""
    process = begin(results, jobs, before)
    said = process.communicate()[1]
    assert "Traceback" not in said
    return process.returncode, said


def table(results: Path) -> list[dict[str, str]]:
    """The leaderboard, without what was measured of the machine."""
    verb = ["leaderboard", "--results", str(results)]
    subprocess.run([sys.executable, "-m", "fedsynth.benchmarks.cli", *verb], cwd=ROOT, check=True, capture_output=True)
    with (results / "leaderboard" / "leaderboard.csv").open() as file:
        return [{name: cell for name, cell in row.items() if name not in MEASURED} for row in csv.DictReader(file)]


def scores(results: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in results.glob("runs/*/scores.csv")}


def digests(results: Path) -> dict[str, object]:
    """Of every run's final tensors."""
    return {path.parent.name: json.loads(path.read_text())["digest"] for path in results.glob("runs/*/record.json")}


def descendants(pid: int) -> list[int]:
    children = list[str]()  # of all threads
    with suppress(OSError):
        for thread in (PROC / str(pid) / "task").iterdir():
            children += (thread / "children").read_text().split()
    return [own for child in map(int, children) for own in (child, *descendants(child))]


def alive(pid: int) -> bool:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def done(results: Path) -> set[str]:
    store = Store(results)
    return {name for name in store.names() if store.status(name).state in FINISHED}


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_whatever_happens_the_same_command_repeated_ends_with_the_same_table(tmp_path: Path) -> None:
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    status, said = through(whole)
    assert status == 0, said
    assert len(done(whole)) == 40

    stream = np.random.default_rng(0)

    # two sweeps at once lose workers and what they are forked from, and are then killed themselves
    sweeps = [begin(hurt, 1), begin(hurt, 1)]
    assert wait_for(lambda: len(done(hurt)) >= 2, 120)
    for _ in range(6):
        time.sleep(stream.uniform(0.2, 1.5))
        victims = [pid for process in sweeps for pid in descendants(process.pid)]
        if victims:
            kill(int(stream.choice(victims)))
    orphans = [pid for process in sweeps for pid in descendants(process.pid)]
    for process in sweeps:
        process.kill()
        process.communicate()
    assert wait_for(lambda: not any(map(alive, orphans)), 10), "a worker lives on without its sweep"
    assert len(done(hurt)) < 40, "the sweeps were through before they were disturbed"

    # a record is cut short, and a table of another changed
    finished = sorted(done(hurt))
    first, second = (hurt / "runs" / str(name) for name in stream.choice(finished, 2, replace=False))
    os.truncate(first / "record.json", int(stream.integers(1, (first / "record.json").stat().st_size)))
    content = bytearray((second / "scores.csv").read_bytes())
    content[int(stream.integers(len(content)))] ^= 1
    (second / "scores.csv").write_bytes(content)
    kept = {
        name: (hurt / "runs" / name / "record.json").read_bytes()
        for name in finished
        if name not in (first.name, second.name)
    }

    # no file can be longer than this: the sweep stops, and says why and what to do
    status, said = through(hurt, 2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT)))
    assert status == 1
    assert f"stopped early: {hurt} cannot be written: File too large. Make room there" in said
    assert "To go on where it stopped:\n  fedsynth sweep experiment=smoke " in said
    assert {name: (hurt / "runs" / name / "record.json").read_bytes() for name in kept} == kept

    # a sweep that is told to stop, does so at once and leaves nobody behind
    process = begin(hurt, 2)
    before = len(done(hurt))
    assert wait_for(lambda: len(done(hurt)) > before, 120)
    workers = descendants(process.pid)
    process.terminate()
    said = process.communicate(timeout=40)[1]
    assert process.returncode == 130
    assert "stopped early: interrupted" in said
    assert "Traceback" not in said
    assert wait_for(lambda: not any(map(alive, workers)), 5)

    for _ in range(3):
        status, said = through(hurt)
        if status == 0:
            break
    assert status == 0, said
    assert digests(hurt) == digests(whole)
    assert scores(hurt) == scores(whole)
    assert table(hurt) == table(whole)
    assert {path.name.rpartition("-")[0] for path in (hurt / "damaged").iterdir()} == {first.name, second.name}


def mounts() -> bool:
    """Whether a file system can be mounted where nobody else sees it."""
    try:
        return (
            subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode
            == 0
        )
    except OSError:
        return False


@pytest.mark.skipif(not mounts(), reason="a small disk needs unshare and user namespaces")
def test_a_disk_that_is_full_stops_the_sweep_and_harms_nothing(tmp_path: Path) -> None:
    """A file system with room for some runs one after another, which need more on their way than they leave, and not for all;
    what is on it is copied off and continued with."""
    whole, small, after = (tmp_path / name for name in ("whole", "small", "after"))
    cells = ("method=local,fedavg,fedbn,ditto", "seed=0,1")
    assert subprocess.run(command(whole, 2, *cells), cwd=ROOT, capture_output=True).returncode == 0
    assert len(done(whole)) == 8
    room = sum(path.stat().st_blocks * 512 for path in whole.rglob("*")) * 9 // 10
    script = f'mount -t tmpfs -o size={room} tmpfs {small} && "$@"; status=$?; cp -r {small}/. {after}; exit $status'
    small.mkdir()
    after.mkdir()
    starved = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command(small, 1, *cells)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert starved.returncode == 1
    assert f"stopped early: {small} cannot be written: No space left on device. Make room there" in starved.stderr
    assert "Traceback" not in starved.stderr
    kept = done(after)
    assert 0 < len(kept) < 8
    assert all(digests(after)[name] == digests(whole)[name] for name in kept)
    again = subprocess.run(command(after, 2, *cells), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"all checked: {len(kept)} done" in again.stderr
    assert digests(after) == digests(whole)
    assert scores(after) == scores(whole)
    assert table(after) == table(whole)
    assert not (after / "damaged").exists()
