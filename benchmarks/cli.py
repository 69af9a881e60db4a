"""The command line. The verb is chosen before Hydra, torch or a method is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module

from fedsynth.registry import RegistryError

USAGE = """usage: fedsynth VERB [ARGUMENTS]

  run [-m] [OPTION=VALUE ...]      train one run, or with -m every combination of comma-separated values; --help shows all options
  sweep experiment=NAME [OPTION=VALUE ...]  every cell of an experiment's grids, each a process; --jobs N --dry
  list [KIND ...]                  the methods, networks, datasets and scenarios there are
  prepare dataset=NAME [FOLDER]    volumes become arrays ahead of a run; --jobs N; --verify: only say what lies there
  check METHOD ... | --all         does a method keep the contract? seconds on a CPU
  cost METHOD ... [OPTION=VALUE ...]  seconds and where they go, operations, memory, bytes, measured alone; --profile FOLDER
  tune METHOD ... [OPTION=VALUE ...]  the same number of trials for each, judged by validation; --trials N --jobs N
  status [PATTERN ...]             which runs are finished, half-finished, failed, running
  leaderboard [PATTERN ...]        tables of finished runs: terminal, Markdown, CSV
  compare A B [PATTERN ...]        one pair of methods explained: difference, interval, who gains, what it costs
  report [PATTERN ...]             one HTML page with tables, curves and images
  figures [PATTERN ...]            figures for a paper; --format pdf,svg,png --columns 1|2
  export RUN ...                   what a run synthesises for its test subjects, as NIfTI volumes
  features RUN ... --network FILE  what a feature network of yours sees in that: LPIPS-like and FID-like scores
  pack FILE.zip [PATTERN ...]      the records of finished runs in one file, for another laboratory
  merge FILE.zip|FOLDER ...        another laboratory's records into this store, each checked
  publish NAME [PATTERN ...]       a table and its records into results/NAME, for version control

  fedsynth run -m method=fedavg,fedbn 'scenario.sites=[ixi,brats],[ixi,midas,oasis]' seed=0,1,2
"""
VERBS = {
    "run": "running.run",
    "sweep": "running.sweep",
    "list": "config.list",
    "prepare": "data.prepare",
    "check": "contract.check",
    "cost": "running.cost",
    "tune": "running.tune",
    "status": "running.status",
    "leaderboard": "leaderboard.leaderboard",
    "compare": "leaderboard.compare",
    "report": "report.report",
    "figures": "report.figures",
    "export": "inference.export",
    "features": "inference.features",
    "pack": "share.pack",
    "merge": "share.merge",
    "publish": "share.publish",
}


def main(argv: list[str] | None = None) -> int:
    """Dispatch to the verb's module; returns the exit status."""
    verb, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb in ("-h", "--help"):
        print(USAGE)
        return 0
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, 1)
        print(f"fedsynth: no verb {verb!r}{f'; did you mean {near[0]!r}?' if near else ''}\n\n{USAGE}", file=sys.stderr)
        return 2
    try:
        command: Callable[[list[str]], int] = import_module(f"fedsynth.benchmarks.{VERBS[verb]}").main
        status = command(rest)
        sys.stdout.flush()
    except RegistryError as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fedsynth: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        place = error.filename2 or error.filename
        print(f"fedsynth: {place}: {error.strerror}; name another place, or mend that one", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
