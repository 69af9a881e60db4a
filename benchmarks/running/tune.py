"""`fedsynth tune`: every method gets as many trials, drawn by one policy, and is judged by its validation score alone.

Trial 0 is the default. In all others the learning rate and the method's own numbers are drawn; trials of one number
have the same learning rate for every method. A positive number is drawn log-uniformly from a tenth to ten times its default, a
share of 0 uniformly from [0, 1], and a count of at least 1 among a half, one and two times its default. What the method refuses
is drawn again. Switches and choices are variants of a method and keep their default, as do the weights of the common objective.

Most trials are given up early (successive halving, Jamieson and Talwalkar 2016): each is first a run of a PART of the rounds,
with a schedule of its own; the best PART of a method's trials, and the default, then train for all rounds.

All of these are runs like any other, each in a process of its own as in a sweep. They are kept in a store of their own
(`RESULTS/tuning`), so that the same command goes on where it stopped and trains nothing twice. The default and the best trial are
then copied to `RESULTS/runs`, where the leaderboard shows both, and `--write` leaves the options of the best for the grids of
experiments (`tuned: NAME`), with the number of trials, their seed, their budget and their subjects.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from click import UsageError

from fedsynth import streams
from fedsynth.method import Method
from fedsynth.registry import METHODS
from fedsynth.runtime.atomic import write_atomically

from ..config.compose import composed, load_choices
from ..config.explain import explained
from ..config.grid import Cell
from ..config.overrides import apart, results_override
from ..config.own_files import own_folder
from ..config.tuned import HOW, TUNED
from ..records.record import Record
from ..records.store import Store
from ..records.text_table import how_many
from .engine import engine_of
from .sweep import Sweep
from .training.execute import tell

COMMON = {field.name for field in fields(Method)}  # the objective that all methods share
DECADES = 1.0  # that a number is drawn from, on both sides of its default
SEED = 0  # of the streams that draw
PART = 4  # a quarter


@dataclass(frozen=True)
class Trial:
    """A run of a method, and the options that were drawn for it: none for the default."""

    short: Cell  # of a part of the rounds
    cell: Cell
    options: list[str]


def main(
    words: Sequence[str], trials: int, jobs: int | None, write: Path | None, results: Path | None, command: str
) -> int:
    """Tune the named methods, or all; 1 if one of them has no finished trial or a trial is missing. Raises OptionError for what
    cannot be run."""
    load_choices()
    words, engine = engine_of(words)
    names, overrides = apart([*words, *results_override(results)])
    names = list(METHODS.entries()) if names == ["all"] else names
    if not names:
        raise UsageError("tune what? name a method, or all")
    file = write and (write if write.suffix == ".yaml" else own_folder() / TUNED / f"{write}.yaml")
    with explained():
        planned = {method: trials_of(method, overrides, trials) for method in names}
        sweep = Sweep([trial.short for own in planned.values() for trial in own], jobs, engine)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
    tell(
        f"{how_many(len(names), 'method')}, {how_many(trials, 'trial')} each, first for a part of the rounds\n{sweep.plan()}"
    )
    first = sweep.go(command)
    if first in (2, 130):
        return first
    last = {method: finalists(own) for method, own in planned.items()}
    sweep = Sweep([trial.cell for own in last.values() for trial in own], jobs, engine)
    tell(f"the best of them, and the defaults, for all rounds\n{sweep.plan()}")
    second = sweep.go(command)
    if second in (2, 130):
        return second
    found = [conclude_trials(method, planned[method], own) for method, own in last.items()]
    if file:
        head = f"# The options of each method's best trial by validation PSNR.\n# Written by: {command}\n"
        write_atomically(file, (head + tuning_text(last, trials) + "".join(found)).encode())
        tell(f"wrote {file}; {TUNED}: {write} in a grid takes these options")
    return max(first, second, int(not all(found)))


def trials_of(method: str, overrides: Sequence[str], count: int) -> list[Trial]:
    """A method's trials. Raises the errors that `explained` puts in words."""
    cls = METHODS[method]
    default = composed([f"method={method}", *overrides])
    results = results_override(Path(default.results) / "tuning")
    drawn = [draw_options(cls, method, default.trainer.lr, number) for number in range(1, count)]
    short = [f"trainer.rounds={ceil(default.trainer.rounds / PART)}"]

    def cell(*options: str) -> Cell:
        return Cell.of(composed([f"method={method}", *overrides, *options, *results]))

    return [Trial(cell(*options, *short), cell(*options), options) for options in ([], *drawn)]


def finalists(trials: Sequence[Trial]) -> list[Trial]:
    """Those that are trained for all rounds, in the order of the trials: the best after a part of them, and the default."""
    known = {id(trial): record.validation_psnr for trial, record in finished(trials, short=True)}
    best = sorted((trial for trial in trials if id(trial) in known), key=lambda trial: -known[id(trial)])
    chosen = best[: ceil(len(trials) / PART)]
    return [trial for trial in trials if trial in chosen or not trial.options]


def finished(trials: Sequence[Trial], short: bool = False) -> Iterator[tuple[Trial, Record]]:
    """The trials that have a record, of a part of the rounds or of all."""
    for trial in trials:
        cell = trial.short if short else trial.cell
        if record := Store(Path(cell.run.results)).record(cell.name):
            yield trial, record


def draw_options(cls: type[Method], method: str, lr: float, number: int) -> list[str]:
    """The overrides of a trial: the learning rate of its number, and the method's own options."""
    rate = lr * 10 ** streams.host(SEED, "tune", "lr", number).uniform(-DECADES, DECADES)
    for attempt in range(1000):
        stream = streams.host(SEED, "tune", method, number, attempt)
        own = {f.name: draw_value(f.default, stream) for f in fields(cls) if f.name not in COMMON}
        changed = {option: value for option, value in own.items() if value is not None}
        try:
            cls(**changed)
        except ValueError:
            continue
        return [f"trainer.lr={rate:.3g}", *(f"method.{option}={value}" for option, value in changed.items())]
    raise ValueError(f"method {method}: none of 1000 draws of its options was one that it accepts")


def draw_value(default: Any, stream: np.random.Generator) -> float | int | None:
    """A drawn value for an option with this default; None for an option that keeps its default."""
    if type(default) is float and default > 0:
        return float(f"{default * 10 ** stream.uniform(-DECADES, DECADES):.3g}")
    if type(default) is float and default == 0:
        return float(f"{stream.uniform():.3g}")
    if type(default) is int and default >= 1:
        return max(1, round(default * stream.choice([0.5, 1, 2])))
    return None


def tuning_text(planned: Mapping[str, Sequence[Trial]], trials: int) -> str:
    """How the methods were tuned, in YAML (config/tuned.py says what is told): of a trial what all have in common. Nothing where
    no trial is finished."""
    for trial, record in finished([trial for own in planned.values() for trial in own]):
        identity = record.identity
        told = {
            "trials": trials,
            "seed": identity["seed"],
            "first_rounds": trial.short.run.trainer.rounds,
            "rounds": identity["trainer"]["rounds"],
            "local_steps": record.local_steps,
            "scenario": identity["scenario"]["name"],
            "cohort": identity["scenario"].get("cohort"),
            "data": identity["data"],
        }
        return f"{HOW}: {json.dumps(told)}\n"
    return ""


def conclude_trials(method: str, trials: Sequence[Trial], last: Sequence[Trial]) -> str:
    """Say how a method's trials went, and copy the default and the best to the runs that tables are made of. Returns the best's
    options in YAML, with a comment; nothing where no trial is finished."""
    found, others = [*finished(last)], [*finished([trial for trial in trials if trial not in last], short=True)]
    print(f"{method}: {len(found) + len(others)} of {len(trials)} trials finished")
    tell_scores(found)
    if others:
        print(f"  after {how_many(trials[0].short.run.trainer.rounds, 'round')}:")
        tell_scores(others)
    if not found:
        return ""
    store = Store(Path(trials[0].cell.run.results))
    best = max(found, key=lambda pair: pair[1].validation_psnr)
    default = [pair for pair in found if not pair[0].options]
    for _, record in {pair[1].run: pair for pair in (best, *default)}.values():
        folder = store.folder(record.run)
        shutil.copytree(folder, folder.parents[2] / "runs" / record.run, dirs_exist_ok=True)
    scores = [
        f"{at}: {pair[1].validation_psnr:.2f} dB"
        for at, pair in [*(("default", one) for one in default), ("best", best)]
    ]
    return (
        f"# {method}, {len(found) + len(others)} trials; {', '.join(scores)}\n{method}: {json.dumps(best[0].options)}\n"
    )


def tell_scores(found: Sequence[tuple[Trial, Record]]) -> None:
    """A line for each trial, the best first."""
    for trial, record in sorted(found, key=lambda pair: -pair[1].validation_psnr):
        score = f"{record.validation_psnr:6.2f} dB" if record.status == "done" else f"{record.status:>9}"
        options = {"lr": f"{trial.cell.run.trainer.lr:g}"} | record.changed["method"]
        shown = " ".join(f"{option}={value}" for option, value in options.items())
        print(f"  {score}  {shown}{'' if trial.options else '  (default)'}")
