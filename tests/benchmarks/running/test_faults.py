"""Whichever call on a file fails, the command says so, and given again it ends as if nothing had happened.

A run, a merge, a published table and a preparation are each done once to count their calls; then every tenth call fails (here) or
every one, with every error (`make test-long`).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo  # which the first optimiser imports: once here, and not in every child
from support import finished, trees
from support.injection import Faults, counted, in_child, planned
from support.stores import TINY

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.compose import composed, load_choices
from fedsynth.benchmarks.config.grid import Cell, runs
from fedsynth.benchmarks.data import prepare
from fedsynth.benchmarks.records.archive import write_archive
from fedsynth.benchmarks.records.record import read_curve
from fedsynth.benchmarks.records.store import State, Store
from fedsynth.benchmarks.running import run

for verb in ("share.merge", "share.publish", "leaderboard.leaderboard"):  # as above
    import_module(f"fedsynth.benchmarks.{verb}")

STEP = 10  # of the calls that fail in CI
ROUNDS = (*TINY, "trainer.rounds=2", "method=fedavg")
LAYOUT = ("dataset=folder", *(f"dataset.chain.{key}={value}" for key, value in trees.SMALL.items()))


@dataclass(frozen=True)
class Case:
    """A command on a folder, and what it leaves there that must be the same however often it failed before."""

    name: str
    begin: Callable[[Path], object]
    command: Callable[[Path], int]
    result: Callable[[Path], Any]


@cache
def cells(results: Path) -> list[Cell]:
    load_choices()
    return runs([*ROUNDS, f"results={results}"], False)


def train(place: Path) -> int:
    torch.set_num_threads(1)
    run.runs = lambda words, multirun: cells(place / "results")
    return main(["run", *ROUNDS, "--results", str(place / "results")])


def trained(place: Path) -> Any:
    """All of a record but its dates and seconds, and the pictures."""
    store = Store(place / "results")
    (name,) = store.names()
    record = store.record(name)
    assert record is not None
    curve = [{key: value for key, value in row.items() if key != "seconds"} for row in read_curve(store.folder(name))]
    with np.load(store.folder(name) / "gallery.npz") as file:
        pictures = {key: file[key].tobytes() for key in file}
    facts = record.digest, record.status, record.selected_round, record.validation_psnr, record.data
    return facts, curve, (store.folder(name) / "scores.csv").read_text(), pictures


def two_runs(store: Store) -> Store:
    for method in ("fedavg", "local"):
        finished.finish_whole(store, finished.identity(method={"name": method}))
    return store


def pack(place: Path) -> None:
    theirs = two_runs(Store(place / "theirs"))
    write_archive(place / "lab.zip", [(name, theirs.folder(name)) for name in theirs.names()])
    shutil.rmtree(place / "theirs")


def merge(place: Path) -> int:
    return main(["records", "merge", str(place / "lab.zip"), "--results", str(place / "ours")])


def show(place: Path) -> int:
    return main(["records", "publish", "table", "--results", str(place / "ours"), "--out", str(place / "out")])


def volumes(place: Path) -> None:
    trees.folder(place / "in", 3, ("north",))


def make_arrays(place: Path) -> int:
    prepare.composed = lambda words: layout_config()
    secrets.token_hex = lambda count: "5a" * count  # the salt of the subjects' pseudonyms
    return main(["prepare", *LAYOUT, str(place / "in"), "--out", str(place / "arrays")])


@cache
def layout_config() -> Any:
    load_choices()
    return composed(LAYOUT)


def arrays(place: Path) -> Any:
    found = trees.content(place / "arrays")
    facts = json.loads(found.pop("dataset.json"))
    return found, {key: value for key, value in facts.items() if key != "written"}


CASES = (
    Case("run", lambda place: cells(place / "results"), train, trained),
    Case("merge", pack, merge, lambda place: trees.content(place / "ours")),
    Case("publish", lambda place: two_runs(Store(place / "ours")), show, lambda place: trees.content(place / "out")),
    Case("prepare", volumes, make_arrays, arrays),
)


def wrong(case: Case, tmp_path: Path, step: int) -> list[str]:
    """What went wrong of all failures that were tried; prints how many there were."""
    place, template, apart = tmp_path / "place", tmp_path / "template", tmp_path / "apart"
    apart.mkdir()
    place.mkdir()
    case.begin(place)
    shutil.copytree(place, template)
    whole = in_child(lambda: case.command(place), Faults(place), apart)
    assert whole.status == 0, whole.said
    wanted, found, tried = case.result(place), [], 0
    for number, error in planned(whole.calls, step):
        tried += 1
        shutil.rmtree(place)
        shutil.copytree(template, place)
        broken = in_child(lambda at=number, by=error: case.command(place), Faults(place, number, error), apart)
        where = f"{case.name}, call {number} ({whole.calls[number - 1]}), {errno.errorcode[error]}"
        if broken.status == -1 or "Traceback" in broken.said:
            found.append(f"{where}: a traceback:\n{broken.said}")
        elif broken.status and not broken.said.strip():
            found.append(f"{where}: it ended with status {broken.status} and said nothing")
        elif not broken.status and case.result(place) != wanted:
            found.append(f"{where}: it called this a success:\n{broken.said}")
        again = in_child(lambda: case.command(place), Faults(place), apart)
        if again.status or case.result(place) != wanted:
            found.append(f"{where}: the same command again ends otherwise, {again.status}:\n{broken.said}{again.said}")
        elif (left := [path.name for path in place.rglob(".*") if not path.name.endswith(".lock")]) and (
            not whole.calls[number - 1].startswith("open ours/.merge-")  # its own scratch folder, to be removed
        ):
            found.append(f"{where}: it left {', '.join(left)}")
    print(counted(case.name, whole.calls, tried))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_tenth_failure_is_survived(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = wrong(case, tmp_path, STEP)
    with capsys.disabled():
        print(f"\n{capsys.readouterr().out.strip()}")
    assert not found, "\n\n".join(found)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_failure_is_survived(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = wrong(case, tmp_path, 1)
    with capsys.disabled():
        print(f"\n{capsys.readouterr().out.strip()}")
    assert not found, "\n\n".join(found)


@pytest.mark.slow
def test_without_locks_two_commands_train_a_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(Store, "tidy", lambda self, run: None)  # it would take the log away
    (cell,) = cells(tmp_path / "results")
    children = []
    for _ in range(2):
        if (child := os.fork()) == 0:
            status = 1
            try:
                status = train(tmp_path)
            finally:
                os._exit(status)
        children.append(child)
    ended = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
    assert {0} <= ended <= {0, os.EX_TEMPFAIL}  # the second command leaves the run to the first
    store = Store(tmp_path / "results")
    assert store.status(cell.name).state is State.done
    log = (store.folder(cell.name) / "run.log").read_text()
    assert log.count("round 1/2") == 2  # sites
    assert not list(store.folder(cell.name).glob("lock.lease-*"))
