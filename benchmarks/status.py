"""`fedsynth status`: which runs are done, diverged, running, half-finished, failed or damaged, and why.

With experiment=NAME, and whatever else `fedsynth sweep` takes, it is of that experiment's cells, begun or not.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .matrix import matrix
from .store import FINISHED, Standing, State, Store

MANY = 20  # runs that are shown as a matrix, and in a line each only where there is more to say than that they are done


def main(argv: list[str]) -> int:
    """Print how the runs stand and their number; 1 if there is none, 2 for an experiment that cannot be."""
    parser = argparse.ArgumentParser(prog="fedsynth status", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "words",
        nargs="*",
        metavar="PATTERN",
        help="names of runs, such as 'fedavg-*' (default: all); experiment=NAME [OPTION=VALUE ...]: its cells, begun or not",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    arguments = parser.parse_intermixed_args(argv)
    overrides = [word for word in arguments.words if "=" in word]
    patterns = [word for word in arguments.words if "=" not in word]
    try:
        store, runs = planned(overrides, arguments.results) if overrides else begun(Store(arguments.results))
    except (ValueError, LookupError) as error:  # of an option, or a name that nothing has
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    runs = {
        name: what
        for name, what in runs.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    if not runs:
        named = f" named {' or '.join(patterns)}" if patterns else ""
        print(f"fedsynth: no run{named} in {store.runs}; `fedsynth run` makes one", file=sys.stderr)
        return 1
    standings = {name: store.standing(name) if store.folder(name).exists() else None for name in runs}
    show(runs, standings, bool(overrides))
    if any(own is None or own.state not in (*FINISHED, State.running) for own in standings.values()):
        where = [] if arguments.results == parser.get_default("results") else [f"results={arguments.results}"]
        sweep = f"`{shlex.join(['fedsynth', 'sweep', *overrides, *where])}` trains what is missing"
        print(f"{sweep if overrides else 'The command that began them goes on with what is missing'}.")
    return 0


def begun(store: Store) -> tuple[Store, dict[str, Mapping[str, Any]]]:
    """The runs of a store, and what they are where that can be read."""
    return store, {name: store.identity(name) for name in store.names()}


def planned(overrides: Sequence[str], results: Path) -> tuple[Store, dict[str, Mapping[str, Any]]]:
    """The cells of an experiment. Raises OptionError and RegistryError."""
    from .config import register  # torch and every method, which to look at a store does not need
    from .grid import cells, written

    register()
    found = cells([f"results={written(str(results))}", *overrides])
    return Store(Path(found[0].run.results)), {cell.name: cell.identity for cell in found}


def show(runs: Mapping[str, Mapping[str, Any]], standings: Mapping[str, Standing | None], whole: bool) -> None:
    """A matrix where there are many or all are wanted, lines, and how many there are of each state."""
    seen = [own for own in standings.values() if own]
    if whole or len(runs) > MANY:
        known = [(what, own.state if (own := standings[name]) else None) for name, what in runs.items() if what]
        for line in matrix(known, shutil.get_terminal_size().columns) if known else ():
            print(line)
        print()
        seen = [own for own in seen if own.state is not State.done]
    longest = max((len(own.run) for own in seen), default=0)
    for own in seen:
        print(f"{own.run:{longest}}  {own.state.value:13}  {told(own)}".rstrip())
    print(f"{chr(10) if seen else ''}{summary([own.state if own else None for own in standings.values()])}")


def summary(states: Sequence[State | None]) -> str:
    """How many there are of each state; None for a run that was never begun."""
    count = Counter(states)
    known = [f"{count[state]} {state.value}" for state in State if count[state]]
    return ", ".join(known + [f"{count[None]} not begun"] * bool(count[None]))


def told(standing: Standing) -> str:
    """How far the run came, and why it is not done."""
    reached = f"in round {standing.round} of {standing.rounds}" if standing.round else "before its first round ended"
    working = standing.state in (State.running, State.unfinished, State.failed)
    return ": ".join(filter(None, (reached if working else "", standing.reason.strip().partition("\n")[0])))
