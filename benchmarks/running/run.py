"""`fedsynth run`: all runs of a command are checked, then Hydra's launcher executes `run.job` for each."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path

import hydra
from click import UsageError
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fedsynth.exchange import ContractError
from fedsynth.registry import RegistryError

from ..config.errors import explain
from ..config.grid import kept_in
from ..config.overrides import late, plan
from ..config.schema import register
from ..records.store import FINISHED, State, Store
from .execute import job, say
from .status import summary as told


def main(overrides: Sequence[str], multirun: bool, results: Path | None, cfg: str | None, hydra_help: bool) -> int:
    """Run what the overrides say. 0 if every run has its record or is another process's, 1 if one failed, 2 if the command
    cannot be run: then nothing was trained."""
    if not (overrides or cfg or hydra_help):
        raise UsageError("run what? name a method or an experiment, such as method=fedavg or experiment=demo")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here and not as Hydra's tracebacks
    flags = ["--multirun"] * multirun + ["--hydra-help"] * hydra_help + (["--cfg", cfg] if cfg else [])
    sys.argv = ["fedsynth run", *flags, *overrides, *kept_in(results)]
    arguments = get_args_parser().parse_args(sys.argv[1:])
    only_shown = cfg or hydra_help
    runs: dict[str, Store] = {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for origin, reason in register().items():
            say(f"fedsynth: {origin} failed to load: {reason}")
        if multirun:
            words = {word: late(word) for word in arguments.overrides}
            sys.argv, arguments.overrides = [words.get(word, word) for word in sys.argv], [*words.values()]
        if not only_shown:
            runs = plan(arguments)
            if len(runs) > 1:
                say(f"{len(runs)} runs, all checked")
        hydra.main("pkg://fedsynth.conf", "config", version_base="1.3")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        say(f"fedsynth: {explain(error)}")
        return 2
    except (
        ValueError,
        OSError,
        RegistryError,
        ContractError,
    ) as error:  # of options, scenario, data or a folder's rights
        say(f"fedsynth: {error}")
        return 2
    except BrokenExecutor as error:
        say(f"fedsynth: a worker was killed ({error}); the same command goes on where it stopped")
    except KeyboardInterrupt:
        say("fedsynth: interrupted; the same command goes on where it stopped")
        return 130
    return summary(runs)


def summary(runs: Mapping[str, Store]) -> int:
    """Say how the runs of a sweep ended; 1 if one has no record and nobody works on it."""
    standings = [store.status(name) for name, store in runs.items()]
    if len(standings) > 1:
        say(f"{len(standings)} runs: {told([standing.state for standing in standings])}")
    missing = [standing for standing in standings if standing.state not in (*FINISHED, State.running)]
    for standing in missing if len(standings) > 1 else ():
        say(f"  {standing.run}: {standing.state.value}{': ' if standing.reason else ''}{standing.reason}")
    return int(bool(missing))
