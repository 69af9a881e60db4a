"""`fedsynth status`: which runs are done, diverged, running, half-finished, failed or damaged, and why.

With experiment=NAME, and any other option that `fedsynth sweep` takes, it shows the cells of that experiment, begun or not.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fedsynth.federation.names import visible

from ..records.store import FINISHED, RunStatus, State, Store
from ..records.text_table import text_table
from .engine import engine_of

MANY = 20  # runs from which on they are a matrix, and only those that are not done have a line each
SECONDS = 5.0  # between two looks of --watch
CLEAR = "\x1b[H\x1b[2J"  # empties a terminal

Identities = dict[str, Mapping[str, Any]]  # of runs by name; empty where it cannot be read
Statuses = dict[str, RunStatus | None]  # of runs by name; None for one that was never begun


def main(words: Sequence[str], results: Path, watch: bool) -> int:
    """Print where each run stands and how many there are of each state. Returns 1 if there is no run. Raises OptionError for an
    experiment that cannot be run."""
    asked = [word for word in words if "=" in word]
    overrides, _ = engine_of(asked)
    patterns = [word for word in words if "=" not in word]
    store = Store(results)
    planned = planned_runs(overrides, results) if overrides else None
    if watch:
        return watched(store, planned, patterns)
    identities, statuses = look(store, planned, patterns)
    if not identities:
        named = f" named {' or '.join(patterns)}" if patterns else ""
        print(f"fedsynth: no run{named} in {store.runs}; `fedsynth run` makes one", file=sys.stderr)
        return 1
    print("\n".join(shown(identities, statuses, whole=planned is not None)))
    if any(own is None or own.state not in (*FINISHED, State.running) for own in statuses.values()):
        where = [] if results == Path("results") else ["--results", str(results)]
        sweep = f"`{shlex.join(['fedsynth', 'sweep', *asked, *where])}` trains what is missing"
        print(f"{sweep if overrides else 'The command that began them goes on with what is missing'}.")
    return 0


def watched(store: Store, planned: Identities | None, patterns: Sequence[str]) -> int:
    """Print where the runs stand every few seconds, until all are finished or somebody interrupts. Where there is no terminal,
    print a line whenever something changes."""
    before = ""
    try:
        while True:
            identities, statuses = look(store, planned, patterns)
            counts = count_states([own.state if own else None for own in statuses.values()]) or "no run yet"
            if sys.stdout.isatty():
                lines = shown(identities, statuses, whole=planned is not None) if identities else [counts]
                print(CLEAR + "\n".join(lines), flush=True)
            else:
                running = [
                    f"{own.run} {how_far(own)}" for own in statuses.values() if own and own.state is State.running
                ]
                if (now := "; ".join([counts, *running])) != before:
                    print(f"{datetime.now():%H:%M:%S} {now}", flush=True)
                before = now
            if statuses and all(own and own.state in FINISHED for own in statuses.values()):
                return 0
            time.sleep(SECONDS)
    except KeyboardInterrupt:
        return 0


def look(store: Store, planned: Identities | None, patterns: Sequence[str]) -> tuple[Identities, Statuses]:
    """The runs of an experiment, or those in the store, and where each stands now."""
    known = {name: store.identity(name) for name in store.names()} if planned is None else planned
    chosen = {
        name: what
        for name, what in known.items()
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    return chosen, {name: status_of(store, name) for name in chosen}


def status_of(store: Store, run: str) -> RunStatus | None:
    """Where a run stands; None if it was never begun."""
    return store.status(run) if run in store else None


def planned_runs(overrides: Sequence[str], results: Path) -> Identities:
    """The cells of an experiment."""
    from ..config.compose import load_choices  # loads torch and every method, which a look at a store does not need
    from ..config.grid import cells
    from ..config.overrides import results_override

    load_choices()
    return {cell.name: cell.identity for cell in cells([*results_override(results), *overrides])}


def shown(identities: Identities, statuses: Statuses, whole: bool) -> list[str]:
    """The lines to print: a matrix if there are many runs or all are wanted, a line for each run, the number in each state."""
    seen, lines = [own for own in statuses.values() if own], list[str]()
    if whole or len(identities) > MANY:
        known = [(what, own.state if (own := statuses[name]) else None) for name, what in identities.items() if what]
        lines += [*state_matrix(known, shutil.get_terminal_size().columns), ""] if known else [""]
        seen = [own for own in seen if own.state is not State.done]
    lines += text_table([(own.run, own.state.value, how_far(own)) for own in seen], right=())
    lines += [""] * bool(seen)
    return [*lines, count_states([own.state if own else None for own in statuses.values()])]


def count_states(states: Sequence[State | None]) -> str:
    """How many there are of each state, in words; None for a run that was never begun."""
    count = Counter(states)
    known = [f"{count[state]} {state.value}" for state in State if count[state]]
    return ", ".join(known + [f"{count[None]} not begun"] * bool(count[None]))


def how_far(status: RunStatus) -> str:
    """How far the run came, and why it is not done."""
    reached = f"in round {status.round} of {status.rounds}" if status.round else "before its first round ended"
    working = status.state in (State.running, State.unfinished, State.failed)
    reached += f", {status.place}" if status.place else ""
    told = ": ".join(filter(None, (reached if working else "", status.reason.strip().partition("\n")[0])))
    return visible(f"{told}; the traceback is in {status.note}" if status.note else told)


LETTERS = {
    State.done: "d",
    State.diverged: "v",
    State.running: "r",
    State.unfinished: "h",
    State.failed: "F",
    State.damaged: "X",
}
NOT_BEGUN, NO_CELL = ".", " "
NOT_OF_ROW = ("name", "tasks", "sites")  # options of a scenario: the column has its name, and the others follow from it

Position = tuple[str, str, int]  # a row, a scenario, a seed


def state_matrix(runs: Sequence[tuple[Mapping[str, Any], State | None]], width: int) -> list[str]:
    """The lines of the matrix, at most so many characters wide; None for a run that was never begun."""
    cells: defaultdict[Position, list[str]] = defaultdict(list)
    for (what, state), row in zip(runs, matrix_rows([what for what, _ in runs]), strict=True):
        cells[row, what["scenario"]["name"], what["seed"]].append(LETTERS[state] if state else NOT_BEGUN)
    names = sorted({row for row, _, _ in cells})
    seeds = {scenario: sorted({seed for _, own, seed in cells if own == scenario}) for _, scenario, _ in cells}
    longest, lines = max(map(len, names)), list[str]()
    widths = {scenario: max(len(scenario), len(seeds[scenario])) for scenario in sorted(seeds)}
    for block in fitting(widths, width - longest):
        rows = [
            [
                name.ljust(longest),
                *("".join(letter(cells.get((name, own, seed), ())) for seed in seeds[own]) for own in block),
            ]
            for name in names
        ]
        begun = [row for row in rows if any(text.strip() for text in row[1:])]
        lines += ["", *text_table([["", *block], *begun], right=())]
    key = ", ".join(f"{letter} {state.value}" for state, letter in LETTERS.items())
    return [*lines[1:], "", f"A letter a seed: {key}, {NOT_BEGUN} not begun."]


def letter(states: Sequence[str]) -> str:
    """The letter of that run in a cell of the matrix which has most left to do."""
    order = [NOT_BEGUN, *(LETTERS[state] for state in reversed(State))]
    return min(states, key=order.index, default=NO_CELL)


def fitting(widths: Mapping[str, int], width: int) -> Iterator[list[str]]:
    """Groups of columns, each narrow enough to be printed side by side; a group has at least one column."""
    block: list[str] = []
    used = 0
    for name, own in widths.items():
        if block and used + own + 2 > width:
            yield block
            block, used = [], 0
        block.append(name)
        used += own + 2
    yield block


def matrix_rows(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """The row of each run: its method, and the options in which it differs from most runs of that method in that scenario."""
    options = [dict(varied_options(what)) for what in identities]
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, what in enumerate(identities):
        groups[what["method"]["name"], what["scenario"]["name"]].append(number)
    labels = [""] * len(identities)
    for (method, _), members in groups.items():
        for option in dict.fromkeys(option for member in members for option in options[member]):
            values = [options[member].get(option, "") for member in members]
            usual, count = Counter(values).most_common(1)[0]
            hidden = {usual, ""} if 2 * count > len(members) else {""}
            for member, value in zip(members, values, strict=True):
                labels[member] += "" if value in hidden else f" {option[1]}={value}"
        for member in members:
            labels[member] = method + labels[member]
    return labels


def varied_options(what: Mapping[str, Any]) -> Iterable[tuple[tuple[str, str], str]]:
    """((part, option), value) of everything that makes up a run, except for its method, scenario and seed."""
    for part in ("method", "network", "dataset", "scenario", "trainer", "optimizer", "schedule", "code"):
        for option, value in what.get(part, {}).items():
            if not (part == "method" and option == "name") and not (part == "scenario" and option in NOT_OF_ROW):
                yield (part, part if option == "name" else option), value_text(value)


def value_text(value: Any) -> str:
    """A value as text. Where every site has the same entry, that entry."""
    if isinstance(value, dict) and value and len({json.dumps(own) for own in value.values()}) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
