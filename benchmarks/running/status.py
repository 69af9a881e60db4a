"""`fedsynth status`: which runs are done, diverged, running, half-finished, failed or damaged, and why.

With experiment=NAME, and whatever else `fedsynth sweep` takes, it is of that experiment's cells, begun or not.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..records.store import FINISHED, RunStatus, State, Store

MANY = 20  # runs that are shown as a matrix, and in a line each only where there is more to say than that they are done


def main(words: Sequence[str], results: Path) -> int:
    """Print how the runs stand and their number; 1 if there is none, 2 for an experiment that cannot be."""
    overrides = [word for word in words if "=" in word]
    patterns = [word for word in words if "=" not in word]
    try:
        store, runs = planned(overrides, results) if overrides else begun(Store(results))
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
    standings = {name: store.status(name) if store.folder(name).exists() else None for name in runs}
    show(runs, standings, bool(overrides))
    if any(own is None or own.state not in (*FINISHED, State.running) for own in standings.values()):
        where = [] if results == Path("results") else ["--results", str(results)]
        sweep = f"`{shlex.join(['fedsynth', 'sweep', *overrides, *where])}` trains what is missing"
        print(f"{sweep if overrides else 'The command that began them goes on with what is missing'}.")
    return 0


def begun(store: Store) -> tuple[Store, dict[str, Mapping[str, Any]]]:
    """The runs of a store, and what they are where that can be read."""
    return store, {name: store.identity(name) for name in store.names()}


def planned(overrides: Sequence[str], results: Path) -> tuple[Store, dict[str, Mapping[str, Any]]]:
    """The cells of an experiment. Raises OptionError and RegistryError."""
    from ..config.grid import cells, written
    from ..config.schema import register  # torch and every method, which to look at a store does not need

    register()
    found = cells([f"results={written(str(results))}", *overrides])
    return Store(Path(found[0].run.results)), {cell.name: cell.identity for cell in found}


def show(runs: Mapping[str, Mapping[str, Any]], standings: Mapping[str, RunStatus | None], whole: bool) -> None:
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


def told(standing: RunStatus) -> str:
    """How far the run came, and why it is not done."""
    reached = f"in round {standing.round} of {standing.rounds}" if standing.round else "before its first round ended"
    working = standing.state in (State.running, State.unfinished, State.failed)
    return ": ".join(filter(None, (reached if working else "", standing.reason.strip().partition("\n")[0])))


LETTERS = {
    State.done: "d",
    State.diverged: "v",
    State.running: "r",
    State.unfinished: "h",
    State.failed: "F",
    State.damaged: "X",
}
NOBODY, NONE = ".", " "  # a cell that was never begun; a place where no cell is
APART = ("name", "tasks", "sites")  # of a scenario: its name is in the column, and the others follow from it

Place = tuple[str, str, int]  # a row, a scenario, a seed


def matrix(runs: Sequence[tuple[Mapping[str, Any], State | None]], width: int) -> list[str]:
    """The lines, at most so many characters wide; None for a run that was never begun."""
    cells: defaultdict[Place, list[str]] = defaultdict(list)
    for (what, state), row in zip(runs, rows([what for what, _ in runs]), strict=True):
        cells[row, what["scenario"]["name"], what["seed"]].append(LETTERS[state] if state else NOBODY)
    names = sorted({row for row, _, _ in cells})
    seeds = {scenario: sorted({seed for _, own, seed in cells if own == scenario}) for _, scenario, _ in cells}
    longest, lines = max(map(len, names)), []
    for block in blocks({scenario: len(scenario) for scenario in sorted(seeds)}, width - longest):
        lines += ["", " " * longest + "".join(f"  {scenario:{room(scenario, seeds)}}" for scenario in block)]
        for name in names:
            found = ["".join(letter(cells.get((name, own, seed), ())) for seed in seeds[own]) for own in block]
            if any(text.strip() for text in found):
                shown = "".join(f"  {text:{room(own, seeds)}}" for own, text in zip(block, found, strict=True))
                lines.append(f"{name:{longest}}{shown}".rstrip())
    key = ", ".join(f"{letter} {state.value}" for state, letter in LETTERS.items())
    return [*lines[1:], "", f"A letter a seed: {key}, {NOBODY} not begun."]


def letter(states: Sequence[str]) -> str:
    """Of the runs that share a place, the one that most is left to do of."""
    order = [NOBODY, *(LETTERS[state] for state in reversed(State))]
    return min(states, key=order.index, default=NONE)


def room(scenario: str, seeds: Mapping[str, Sequence[int]]) -> int:
    return max(len(scenario), len(seeds[scenario]))


def blocks(widths: Mapping[str, int], width: int) -> Iterator[list[str]]:
    """The columns in groups that fit beside each other, at least one each."""
    block: list[str] = []
    used = 0
    for name, own in widths.items():
        if block and used + own + 2 > width:
            yield block
            block, used = [], 0
        block.append(name)
        used += own + 2
    yield block


def rows(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each run's row: its method, and those options that differ from most of the runs of that method in that scenario."""
    options = [dict(flat(what)) for what in identities]
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


def flat(what: Mapping[str, Any]) -> Iterable[tuple[tuple[str, str], str]]:
    """((part, option), value) of all that a run is, but for its name, scenario and seed."""
    for part in ("method", "network", "dataset", "scenario", "trainer", "code"):
        for option, value in what.get(part, {}).items():
            if not (part == "method" and option == "name") and not (part == "scenario" and option in APART):
                yield (part, part if option == "name" else option), text(value)


def text(value: Any) -> str:
    """A value; of entries that are all alike, such as one a site, the one."""
    if isinstance(value, dict) and value and len({json.dumps(own) for own in value.values()}) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
