"""`fedsynth tune`: every method gets as many trials, drawn by one policy, and is judged by its validation score alone.

Trial 0 is the published default. In all others the learning rate, the same for every method of a trial, and the method's own
numbers are drawn from streams named by seed, trial and method: a positive number log-uniformly from a tenth to ten times its
default, a share of 0 uniformly from [0, 1], a count of at least 1 among a half, one and two times its default. What the method
refuses is drawn again. Switches and choices are variants of a method and keep their default, as do the weights of the common
objective.

Trials are runs like any other, each a process of its own as in a sweep, kept in a store of their own (`RESULTS/tuning`), so that
the same command goes on where it stopped and trains nothing twice. The default and the best trial are then copied to
`RESULTS/runs`, where the leaderboard shows both, and `--write` leaves the options of the best for the grids of experiments
(`tuned: FILE`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from click import UsageError
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fedsynth import streams
from fedsynth.method import Method
from fedsynth.registry import METHODS, RegistryError
from fedsynth.runtime.atomic import write_atomically

from ..config.errors import explain
from ..config.grid import Cell, kept_in, written
from ..config.identity import identity, name
from ..config.schema import Run, register
from ..records.record import Record
from ..records.store import Store
from .execute import say
from .sweep import Sweep

COMMON = {field.name for field in fields(Method)}  # the objective that all methods share
DECADES = 1.0


@dataclass(frozen=True)
class Trial:
    """A run of a method, and the options that were drawn for it: none of the default."""

    cell: Cell
    options: list[str]


def main(
    words: Sequence[str],
    trials: int,
    jobs: int | None,
    draws: int,
    write: Path | None,
    results: Path | None,
    command: str,
) -> int:
    """Tune the named methods, or all; 1 if one of them has no finished trial or a trial is missing."""
    broken = register()
    overrides = [*(word for word in words if "=" in word), *kept_in(results)]
    names = [word for word in words if "=" not in word]
    names = list(METHODS.entries()) if names == ["all"] else names
    if not names:
        raise UsageError("tune what? name a method, or all")
    for origin, reason in broken.items():
        say(f"fedsynth: {origin} failed to load: {reason}")
    try:
        with initialize_config_module("fedsynth.conf", version_base="1.3"):
            planned = {method: plan(method, overrides, trials, draws) for method in names}
        sweep = Sweep([trial.cell for own in planned.values() for trial in own], jobs)
        if write:
            write.parent.mkdir(parents=True, exist_ok=True)
    except (HydraException, OmegaConfBaseException) as error:
        say(f"fedsynth: {explain(error)}")
        return 2
    except (ValueError, OSError, RegistryError) as error:  # of an option, or a folder
        say(f"fedsynth: {error}")
        return 2
    say(f"{len(names)} methods with {trials} trials each\n{sweep.plan()}")
    status = sweep.go(command)
    if status in (2, 130):
        return status
    found = [report(method, own) for method, own in planned.items()]
    if write:
        head = f"# The best of each method's trials by validation PSNR, as this left it: {command}\n"
        write_atomically(write, (head + "".join(found)).encode())
    return max(status, int(not all(found)))


def plan(method: str, overrides: Sequence[str], count: int, seed: int) -> list[Trial]:
    """A method's trials. Raises RegistryError for a method that does not exist, and as `Run.of` does."""
    cls = METHODS[method]
    default = compose("config", [f"method={method}", *overrides])
    results = f"results={written(str(Path(default.results) / 'tuning'))}"
    drawn = [draw(cls, method, default.trainer.lr, seed, number) for number in range(1, count)]
    trials = []
    for options in ([], *drawn):
        run = Run.of(compose("config", [f"method={method}", *overrides, *options, results]))
        what = identity(run)
        trials.append(Trial(Cell(name(what), run, what), options))
    return trials


def draw(cls: type[Method], method: str, lr: float, seed: int, number: int) -> list[str]:
    """The overrides of a trial."""
    rate = lr * 10 ** streams.host(seed, "tune", "lr", number).uniform(-DECADES, DECADES)
    for attempt in range(1000):
        stream = streams.host(seed, "tune", method, number, attempt)
        own = {f.name: other(f.default, stream) for f in fields(cls) if f.name not in COMMON}
        changed = {option: value for option, value in own.items() if value is not None}
        try:
            cls(**changed)
        except ValueError:
            continue
        return [f"trainer.lr={rate:.3g}", *(f"method.{option}={value}" for option, value in changed.items())]
    raise ValueError(f"method {method}: none of 1000 draws of its options was one that it accepts")


def other(default: Any, stream: np.random.Generator) -> float | int | None:
    """A drawn value for an option of this default; None for one that keeps it."""
    if type(default) is float and default > 0:
        return float(f"{default * 10 ** stream.uniform(-DECADES, DECADES):.3g}")
    if type(default) is float and default == 0:
        return float(f"{stream.uniform():.3g}")
    if type(default) is int and default >= 1:
        return max(1, round(default * stream.choice([0.5, 1, 2])))
    return None


def report(method: str, trials: Sequence[Trial]) -> str:
    """Say how a method's trials went, and copy the default and the best to the runs that tables are made of. Returns the best's
    options in YAML, with a comment; nothing where no trial is finished."""
    store = Store(Path(trials[0].cell.run.results))
    found: list[tuple[Trial, Record]] = []
    for trial in trials:
        if (record := store.record(trial.cell.name)) is not None:
            found.append((trial, record))
    print(f"{method}: {len(found)} of {len(trials)} trials finished")
    for trial, record in sorted(found, key=lambda pair: -pair[1].validation_psnr):
        score = f"{record.validation_psnr:6.2f} dB" if record.status == "done" else f"{record.status:>9}"
        options = " ".join(f"{option}={value}" for option, value in record.changed["method"].items())
        print(f"  {score}  lr={trial.cell.run.trainer.lr:g} {options}{'' if trial.options else '  (default)'}")
    if not found:
        return ""
    best = max(found, key=lambda pair: pair[1].validation_psnr)
    default = [pair for pair in found if not pair[0].options]
    for _, record in {pair[1].run: pair for pair in (best, *default)}.values():
        folder = store.folder(record.run)
        shutil.copytree(folder, folder.parents[2] / "runs" / record.run, dirs_exist_ok=True)
    scores = [
        f"{at}: {pair[1].validation_psnr:.2f} dB"
        for at, pair in [*(("default", one) for one in default), ("best", best)]
    ]
    return f"# {method}, {len(found)} trials; {', '.join(scores)}\n{method}: {json.dumps(best[0].options)}\n"
