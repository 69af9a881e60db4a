"""A process that dies by SIGKILL, in any phase of a run or at any moment, loses time and nothing else.

Every run here is a process of its own, forked from one that has imported torch. The same run, started again in the same
folder, must end with the scores, curves, pictures and tensors of a run that nobody killed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from support.federations import federation, options, resnet
from support.probes import Everything, facts

from fedsynth.evaluation import evaluate
from fedsynth.feed import Batch, Feed
from fedsynth.networks.blocks import Norm
from fedsynth.runtime import checkpoint
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer import Trainer

PROCESSES = multiprocessing.get_context("forkserver")
# torch's optimisers import torch._dynamo when the first is made: a second that not every process need pay
PROCESSES.set_forkserver_preload(
    ["fedsynth.trainer", "fedsynth.networks.personalised", "torch._dynamo", "scipy.ndimage"]
)

ROUNDS = 3


def train(folder: Path, phase: str = "", call: int = 0) -> None:
    """A whole run in `folder`, in a process of its own; dies in the call-th call of a phase."""
    if phase:
        DEATHS[phase](call)
    given = options(rounds=ROUNDS, local_steps=2, participation=0.7, zoom=1.1)
    run = Trainer(
        Everything(),
        resnet(norm=Norm.batch),
        federation(("brats", "ixi", "oasis")),
        given,
        seed=5,
        folder=folder / "run",
    )
    (folder / "facts.json").write_text(json.dumps(facts(run.run())))


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def replace(owner: Any, name: str, call: int, before: bool = False) -> None:
    """Die before or after the call-th call of a function."""
    function, calls = getattr(owner, name), count(1)

    def fatal(*args: Any, **given: Any) -> Any:
        last = next(calls) == call
        if last and before:
            die()
        result = function(*args, **given)
        if last:
            die()
        return result

    setattr(owner, name, fatal)


def replace_step(call: int) -> None:
    """Die after the discriminator moved and before the generator does."""
    step, calls = Everything.step, count(1)

    def fatal(self: Everything, site: SiteState, batch: Batch) -> Pairs:
        last = next(calls) == call
        for number, pair in enumerate(step(self, site, batch)):
            if last and number:
                die()
            yield pair

    Everything.step = fatal


def replace_write(call: int) -> None:
    """Die in the middle of writing a state."""
    write, calls = checkpoint.save_file, count(1)

    def fatal(tensors: Any, file: Path, metadata: Any) -> None:
        write(tensors, file, metadata)
        if next(calls) == call:
            os.truncate(file, file.stat().st_size // 2)
            die()

    checkpoint.save_file = fatal


DEATHS: dict[str, Callable[[int], None]] = {
    "receive": lambda call: replace(Everything, "receive", call),
    "step": replace_step,
    "upload": lambda call: replace(Everything, "upload", call),
    "aggregate": lambda call: replace(Everything, "aggregate", call),
    "validate": lambda call: replace(Feed, "score", call),
    "serve": lambda call: replace(Everything, "personalise", call),
    "write": replace_write,
    "rename": lambda call: replace(os, "replace", call, before=True),
    "renamed": lambda call: replace(os, "replace", call),
    "score": lambda call: replace(evaluate, "gallery", call),
}

# which calls: one in the first round and one in a later one, where a phase has them (2 sites train and 3 serve in a round;
# a checkpoint follows a selected state wherever validation improved)
CALLS = {
    "receive": (1, 10),
    "step": (1, 10),
    "upload": (2, 3),
    "aggregate": (1, 2),
    "validate": (2, 9),
    "serve": (1, 6),
    "write": (1, 4),
    "rename": (2, 3),
    "renamed": (1, 3),
    "score": (1, 1),
}


def start(folder: Path, phase: str = "", call: int = 0) -> Any:
    folder.mkdir(exist_ok=True)
    process = PROCESSES.Process(target=train, args=(folder, phase, call))
    process.start()
    return process


def finish(folder: Path) -> str:
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    return (folder / "facts.json").read_text()


@pytest.fixture(scope="module", name="whole")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """What an uninterrupted run finds, and about how long it takes, seconds."""
    started = time.perf_counter()
    found = finish(tmp_path_factory.mktemp("whole"))
    assert json.loads(found)["status"][0] == "done"
    return found, time.perf_counter() - started


@pytest.mark.parametrize("phase", DEATHS)
def test_killed_in_a_phase(phase: str, tmp_path: Path, whole: tuple[str, float]) -> None:
    for call in CALLS[phase]:  # the second death is in the run that was resumed after the first
        process = start(tmp_path, phase, call)
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"{phase} has no call {call}"
    assert finish(tmp_path) == whole[0]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_killed_at_random_moments(seed: int, tmp_path: Path, whole: tuple[str, float]) -> None:
    for moment in np.random.default_rng(seed).uniform(0, whole[1], size=3):
        process = start(tmp_path)
        process.join(moment)
        process.kill()
        process.join()
    assert finish(tmp_path) == whole[0]
