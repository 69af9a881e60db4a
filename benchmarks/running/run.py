"""`fedsynth run`: all runs of a command are checked, then Hydra's launcher executes `run.job` for each."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fedsynth.exchange import ContractError
from fedsynth.registry import RegistryError

from ..config.errors import explain
from ..config.overrides import late, plan
from ..config.schema import register
from ..records.store import FINISHED, State, Store
from .execute import job, say
from .status import summary as told

HELP = """usage: fedsynth run [-m] [GROUP=CHOICE ...] [OPTION=VALUE ...]

  -m, --multirun  run every combination of comma-separated values; hydra/launcher=joblib hydra.launcher.n_jobs=2: two at a time
  --cfg job       show the configuration and train nothing
  --hydra-help    what else Hydra knows

  groups   method, network, dataset, scenario, experiment: `fedsynth list` shows the choices; an experiment's grids are
           trained by `fedsynth sweep`, and no part of a run
  options  method.*, network.*, dataset.*, scenario.*, trainer.*, seed, results

  fedsynth run method=fedbn network=unet trainer.rounds=20 scenario=common
  fedsynth run -m method=fedavg,fedbn 'scenario.sites=[ixi,brats],[ixi,midas,oasis]' seed=0,1,2
  fedsynth run -m 'method=glob(*)' experiment=smoke
  fedsynth run method=local 'scenario.tasks.ixi=["T1->T2"]'
"""


def main(argv: list[str]) -> int:
    """Run what the overrides say. 0 if every run has its record or is another process's, 1 if one failed, 2 if the command
    cannot be run: then nothing was trained."""
    if not argv or {"-h", "--help"} & set(argv):
        print(HELP)
        return 0 if argv else 2
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here and not as Hydra's tracebacks
    sys.argv = ["fedsynth run", *argv]
    arguments = get_args_parser().parse_args(argv)
    only_shown = arguments.cfg or arguments.info or arguments.hydra_help or arguments.shell_completion
    runs: dict[str, Store] = {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for origin, reason in register().items():
            say(f"fedsynth: {origin} failed to load: {reason}")
        if arguments.multirun:
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
