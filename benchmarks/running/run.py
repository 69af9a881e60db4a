"""`fedsynth run`: every run of a command is composed and checked, then each is trained, here or by a launcher of Hydra's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor  # joblib's error for a process that was killed is one of these
from dataclasses import fields
from pathlib import Path

import hydra
from click import UsageError
from omegaconf import DictConfig, OmegaConf

from ..config.compose import composed, load_choices
from ..config.explain import explained
from ..config.grid import Cell, as_words, combined, runs
from ..config.overrides import deferred, results_override
from ..config.schema import IN_TRAINER, Run
from ..records.store import FINISHED, State, Store
from .status import count_states
from .training.estimate import Forecast, kinds, local_steps, spelt
from .training.execute import REFRESH, check_available, settle, tell

SLURM, LOST = "SlurmLauncher", "UncompletedJobError"  # submitit's launcher, and its error for a job that was killed
UNSEEN = (
    "so the launcher does not learn of a job that is killed, and waits for it for ever: once `squeue` shows none of its jobs, "
    "interrupt it with Ctrl-C; the same command goes on. A sweep with an engine needs no accounting (docs/cluster.md)"
)


def main(overrides: Sequence[str], multirun: bool, results: Path | None, cfg: str | None) -> int:
    """Train what the overrides say. 0 if every run has its record, 1 if one failed, 75 if another process works on one, 130 if it
    was interrupted. Raises OptionError for what cannot be run: then nothing was trained."""
    if not (overrides or cfg):
        raise UsageError("run what? name a method or an experiment, such as method=fedavg or experiment=demo")
    load_choices()
    words = [*overrides, *results_override(results)]
    if cfg:
        print(configuration(words), end="")
        return 0
    planned = runs(words, multirun)
    stores = {cell.name: Store(Path(cell.run.results)) for cell in planned}
    missing = [cell for cell in planned if stores[cell.name].status(cell.name).state not in FINISHED]
    launched = launcher(words) if multirun else ""
    announce(stores, launched)
    if known := expected(missing, stores):
        tell(known)
    whole = {missing[0].name: work(missing)} if missing else {}

    def train(cell: Cell) -> None:
        ending = settle(cell, 0.0 if known else whole.get(cell.name, 1.0))
        # a scheduler may begin a job again whose process lives on: should that one die, nobody else would come back to the run
        while launched and ending.state is State.running:
            time.sleep(REFRESH)
            ending = settle(cell)
        tell(f"{cell.name}: {ending.told}")

    check_available(missing * (not launched))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if launched:
            launch(words, lambda config: train(Cell.of(config)))
        else:
            for cell in planned:
                train(cell)
    except RuntimeError as error:
        tell(f"fedsynth: the launcher lost a run ({lost_run(error)}); the same command goes on where it stopped")
    except KeyboardInterrupt:
        tell("fedsynth: interrupted; the same command goes on where it stopped")
        return 130
    return conclude(stores)


def announce(stores: Mapping[str, Store], launched: str) -> None:
    """Say that the runs were checked, how they are claimed where locks cannot be relied on, and what the launcher cannot see."""
    if launched == SLURM and (fault := accounting_fault()):
        tell(f"this SLURM keeps no accounting ({fault}), {UNSEEN}")
    for note in dict.fromkeys(store.claiming for store in stores.values() if store.claiming):
        tell(note)
    if len(stores) > 1:
        tell(f"{len(stores)} runs, all checked")


def launcher(words: Sequence[str]) -> str:
    """The class of the launcher, such as joblib's, that the command or its experiment names; empty for Hydra's basic one."""
    config = composed(as_words(combined(words)[0]), with_hydra=True)
    name = str(config.hydra.launcher._target_).rpartition(".")[2]
    return "" if name == "BasicLauncher" else name


def lost_run(error: RuntimeError) -> str:
    """What a launcher says of a run whose process or job was killed. Raises any other error again."""
    if isinstance(error, BrokenExecutor) or type(error).__name__ == LOST:
        return str(error).partition("\n")[0]
    raise error


def accounting_fault() -> str:
    """Why SLURM does not say how jobs ended; empty where it does."""
    try:
        asked = subprocess.run(["sacct", "-X", "-n"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return asked.stderr.strip() if asked.returncode else ""


def launch(words: Sequence[str], job: Callable[[DictConfig], None]) -> None:
    """Let Hydra's launcher do the job for every combination."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here and not as Hydra's tracebacks
    sys.argv = ["fedsynth run", "--multirun", *map(deferred, words)]
    with explained():
        hydra.main("pkg://fedsynth.conf", "config", version_base="1.3")(job)()


def configuration(words: Sequence[str]) -> str:
    """The options of a run as it would be trained, in YAML."""
    with explained():
        config = composed(words)
        Run.of(config)
        OmegaConf.resolve(config)
    parts = {name: config[name] for name in (*(field.name for field in fields(Run)), *IN_TRAINER)}
    trainer = {name: value for name, value in config.trainer.items() if name not in IN_TRAINER}
    return OmegaConf.to_yaml(parts | {"trainer": trainer})


def expected(missing: Sequence[Cell], stores: Mapping[str, Store]) -> str:
    """How long the runs are going to take, as runs like them took here; empty where some are unlike any."""
    if not missing:
        return ""
    forecast = Forecast(stores[missing[0].name])
    known = [forecast.seconds(cell.identity) for cell in missing]
    if None in known:
        return ""
    runs = missing[0].name if len(missing) == 1 else f"{len(missing)} to train, one after another"
    return f"{runs}: about {spelt(sum(filter(None, known)))}, as runs like that took here"


def work(missing: Sequence[Cell]) -> float:
    """How many times the work of the first run all of them are; 1 where they are of kinds that cannot be compared."""
    first = missing[0].identity
    if any(kinds(cell.identity)[-1] != kinds(first)[-1] for cell in missing):
        return 1.0
    return sum(local_steps(cell.identity) for cell in missing) / local_steps(first)


def conclude(stores: Mapping[str, Store]) -> int:
    """Say how the runs of a command ended. 1 if one has no record and nobody works on it, else 75 if another process works on
    one: the status by which schedulers know that the command is to be given again."""
    ended = [store.status(name) for name, store in stores.items()]
    missing = [status for status in ended if status.state not in (*FINISHED, State.running)]
    if len(ended) > 1:
        tell(f"{len(ended)} runs: {count_states([status.state for status in ended])}")
        for status in missing:
            tell(f"  {status.run}: {status.state.value}{': ' if status.reason else ''}{status.reason}")
    return 1 if missing else os.EX_TEMPFAIL if any(status.state is State.running for status in ended) else 0
