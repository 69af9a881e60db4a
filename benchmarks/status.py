"""`fedsynth status`: which runs are done, diverged, running, half-finished, failed or damaged, and why."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from .store import Standing, State, Store


def main(argv: list[str]) -> int:
    """Print a line a run and their number; 1 if there is none."""
    parser = argparse.ArgumentParser(prog="fedsynth status", description=__doc__)
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="names of runs, such as 'fedavg-*'; default: all"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    arguments = parser.parse_args(argv)
    store = Store(arguments.results)
    standings = [store.standing(name) for name in store.names(arguments.patterns)]
    if not standings:
        named = f" named {' or '.join(arguments.patterns)}" if arguments.patterns else ""
        print(f"fedsynth: no run{named} in {store.runs}; `fedsynth run` makes one", file=sys.stderr)
        return 1
    longest = max(len(standing.run) for standing in standings)
    for standing in standings:
        state = standing.state.value
        print(f"{standing.run:{longest}}  {state:13}  {told(standing)}".rstrip())
    count = Counter(standing.state for standing in standings)
    print("\n" + ", ".join(f"{count[state]} {state.value}" for state in State if count[state]))
    if any(standing.state in (State.unfinished, State.failed) for standing in standings):
        print("The command that began a half-finished or failed run goes on with it.")
    return 0


def told(standing: Standing) -> str:
    """How far the run came, and why it is not done."""
    reached = f"in round {standing.round} of {standing.rounds}" if standing.round else "before its first round ended"
    working = standing.state in (State.running, State.unfinished, State.failed)
    return ": ".join(filter(None, (reached if working else "", standing.reason.strip().partition("\n")[0])))
