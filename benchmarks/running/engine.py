"""Where the cells of a sweep train: in processes of this machine, or wherever a configuration of Parsl says.

An engine is an executor as those of `concurrent.futures` are: a function and its data go in, a future comes back. A configuration
is a Python file of the site with a `config`; queues, accounts, GPUs and containers are its options.
"""

from __future__ import annotations

import math
import os
import runpy
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..config.errors import OptionError
from ..config.own_files import own_folder
from .processes import LocalEngine

ENGINE, LOCAL = "engine", "local"
# The names of the errors that say how a cell ended: the first of each is this machine's, the second is Parsl's. Parsl raises
# ManagerLost where a job of the scheduler ended with its cells half-finished.
INTERRUPTED = ("ProcessStopped", "ManagerLost")
DIED = ("ProcessDied", "WorkerLost")


def engine_of(words: Sequence[str]) -> tuple[list[str], str]:
    """The words without engine=..., and the engine. Raises OptionError for a word that looks like a misspelt one."""
    for name in (word.partition("=")[0] for word in words):
        if name != ENGINE and get_close_matches(name, [ENGINE]):
            raise OptionError(f"there is no option {name!r}; the nearest: {ENGINE}")
    named = [word.partition("=")[2] for word in words if word.startswith(f"{ENGINE}=")]
    return [word for word in words if not word.startswith(f"{ENGINE}=")], named[-1] if named else LOCAL


class Engine:
    """An engine by its name, before it begins. Raises OptionError for one that is not here."""

    def __init__(self, name: str) -> None:
        self.is_local = name == LOCAL
        self.config: Any = None if self.is_local else parsl_config(name)

    @property
    def room(self) -> float:
        """How many cells train at a time at most, as far as the configuration says."""
        return sum(map(workers, self.config.executors))

    def start(self, jobs: int, threads: int, gpus: Sequence[str]) -> Executor:
        if self.is_local:
            return LocalEngine(jobs, threads, gpus)
        from parsl.concurrent import ParslPoolExecutor

        # Parsl starts its scripts by their names, also in its jobs: they lie beside this Python
        os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        for (
            executor
        ) in self.config.executors:  # else, when a sweep is killed, its jobs would wait for it to the end of their time
            if hasattr(executor, "interchange_launch_cmd") and shutil.which("setpriv"):
                executor.interchange_launch_cmd = ["setpriv", "--pdeathsig", "KILL", *executor.interchange_launch_cmd]
        return ParslPoolExecutor(self.config)


def parsl_config(name: str) -> Any:
    """The configuration in a file, or in one of one's own by its name."""
    path = Path(name) if name.endswith(".py") else own_folder() / "engine" / f"{name}.py"
    if not path.is_file():
        raise OptionError(
            f"engine={name}: there is no file {path}; it can be {LOCAL}, or a Python file with a Parsl `config`"
        )
    try:
        return runpy.run_path(str(path))["config"]
    except Exception as error:  # the site's own code
        absent = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        advice = f"install {absent} in this environment" if absent else "correct the file"
        if absent.partition(".")[0] == "parsl":
            advice = "`pip install 'fedsynth[cluster]'` installs Parsl"
        raise OptionError(
            f"engine={name}: {path} gives no `config`: {type(error).__name__}: {error}; {advice}"
        ) from error


def workers(executor: Any) -> float:
    """How many calls an executor of Parsl has at work at most; infinite where it does not say."""
    provider = getattr(executor, "provider", None)
    blocks = getattr(provider, "max_blocks", math.inf) * getattr(provider, "nodes_per_block", 1)
    gpus = len(getattr(executor, "available_accelerators", ())) or math.inf
    return float(blocks * min(getattr(executor, "max_workers_per_node", math.inf), gpus))
