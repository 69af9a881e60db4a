"""`fedsynth tune`: every method gets as many trials, drawn by one policy, and is judged by its validation score alone.

Trial 0 is the published default. In all others the learning rate, the same for every method of a trial, and the method's own
numbers are drawn from streams named by seed, trial and method: a positive number log-uniformly from a tenth to ten times its
default, a share of 0 uniformly from [0, 1], a count of at least 1 among a half, one and two times its default. What the method
refuses is drawn again. Switches and choices are variants of a method and keep their default, as do the weights of the common
objective.

Trials are runs like any other, kept in a store of their own (`RESULTS/tuning`), so that the same command goes on where it
stopped and trains nothing twice. The default and the best trial are then copied to `RESULTS/runs`, where the leaderboard shows
both.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from joblib import Parallel, delayed
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fedsynth import streams
from fedsynth.federation import FederationError
from fedsynth.method import Method
from fedsynth.registry import METHODS

from .config import OptionError, Run, register
from .identity import identity, name
from .plan import explain
from .records import Record
from .run import job, say
from .store import Store

COMMON = {field.name for field in fields(Method)}  # the objective that all methods share
DECADES = 1.0


def main(argv: list[str]) -> int:
    """Tune the named methods, or all; 1 if one of them has no finished trial."""
    parser = argparse.ArgumentParser(prog="fedsynth tune", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "methods", nargs="+", metavar="METHOD", help="methods, or 'all'; OPTION=VALUE of all their runs"
    )
    parser.add_argument(
        "--trials", type=int, default=8, help="runs a method, the published default included (default: 8)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each (default: 1)")
    parser.add_argument("--draws", type=int, default=0, metavar="SEED", help="seed of the draws (default: 0)")
    arguments = parser.parse_args(argv)
    broken = register()
    overrides = [word for word in arguments.methods if "=" in word]
    names = [word for word in arguments.methods if "=" not in word]
    names = list(METHODS.entries()) if names == ["all"] else names
    if not names or arguments.trials < 1:
        parser.error("name at least one method and one trial")
    for origin, reason in broken.items():
        say(f"fedsynth: {origin} failed to load: {reason}")
    try:
        with initialize_config_module("fedsynth.conf", version_base="1.3"):
            trials = {method: plan(method, overrides, arguments.trials, arguments.draws) for method in names}
    except (HydraException, OmegaConfBaseException) as error:
        say(f"fedsynth: {explain(error)}")
        return 2
    except (OptionError, FederationError, ValueError) as error:
        say(f"fedsynth: {error}")
        return 2
    say(f"{len(names)} methods with {arguments.trials} trials each")
    queue = [config for configs in trials.values() for config in configs]
    Parallel(arguments.jobs)(delayed(trial)(config) for config in queue)
    told = [report(method, [Run.of(config) for config in configs]) for method, configs in trials.items()]
    return int(not all(told))


def trial(config: DictConfig) -> None:
    """One run, in whatever process."""
    register()
    job(config)


def plan(method: str, overrides: Sequence[str], count: int, seed: int) -> list[DictConfig]:
    """The configurations of a method's trials. Raises RegistryError for a method that does not exist, and as `Run.of` does."""
    cls = METHODS[method]
    default = compose("config", [f"method={method}", *overrides])
    results = f"results={Path(default.results) / 'tuning'}"
    drawn = [draw(cls, method, default.trainer.lr, seed, number) for number in range(1, count)]
    found = [compose("config", [f"method={method}", *overrides, *options, results]) for options in ([], *drawn)]
    for config in found:
        identity(Run.of(config))
    return found


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


def report(method: str, runs: Sequence[Run]) -> bool:
    """Say how a method's trials went, and copy the default and the best to the runs that tables are made of."""
    found: list[tuple[Run, Record]] = []
    for run in runs:
        record = Store(Path(run.results)).record(name(identity(run)))
        if record is not None:
            found.append((run, record))
    print(f"{method}: {len(found)} of {len(runs)} trials finished")
    for run, record in sorted(found, key=lambda pair: -pair[1].validation_psnr):
        score = f"{record.validation_psnr:6.2f} dB" if record.status == "done" else f"{record.status:>9}"
        options = " ".join(f"{option}={value}" for option, value in record.changed["method"].items())
        print(f"  {score}  lr={run.trainer.lr:g} {options}{'  (default)' if run is runs[0] else ''}")
    if not found:
        return False
    best = max(found, key=lambda pair: pair[1].validation_psnr)
    for _, record in {id(pair): pair for pair in (best, *(pair for pair in found if pair[0] is runs[0]))}.values():
        folder = Store(Path(runs[0].results)).folder(record.run)
        shutil.copytree(folder, folder.parents[2] / "runs" / record.run, dirs_exist_ok=True)
    return True
