"""Runs at a glance: a row for each method and what varies of its options, a column for each scenario and seed, a letter each."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .store import State

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
