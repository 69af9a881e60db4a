"""What the rows of a table are called: the shortest names that tell them apart.

A name is that of the method or network, with the options that were changed in one of its rows. Where rows differ in an option and
more than half of them have the same value, that value is left out of the names and goes into a note (`Names.usual`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..records.record import Record, canonical

MOVING = ("optimizer", "schedule")  # choices that all rows of a table share
OWN = ("lr", "server_rule", "corrupt", "common_start")  # trainer options that tell rows apart, not tables


@dataclass(frozen=True)
class Names:
    """The names of all rows, in order."""

    methods: tuple[str, ...]
    networks: tuple[str, ...]
    usual: tuple[str, ...]  # the options that names leave out, as they are typed

    @classmethod
    def of(cls, heads: Sequence[Record]) -> Names:
        """`heads`: one record of every row."""
        own = own_options(heads)
        trainers, common = _without_usual([{name: head.identity["trainer"][name] for name in own} for head in heads])
        methods, usual_methods = _labels(heads, "method", ())
        networks, usual_networks = _labels(heads, "network", shared_options(heads))
        methods = [" ".join(filter(None, words)) for words in zip(methods, trainers, strict=True)]
        usual = tuple(filter(None, (common, *usual_methods, *usual_networks)))
        return cls(_versioned(heads, "method", methods), _versioned(heads, "network", networks), usual)


def _labels(heads: Sequence[Record], kind: str, shared: Iterable[str]) -> tuple[list[str], list[str]]:
    """The label of each row's method or network (`kind`) with its options, and for each name the options that are usual."""
    found, usual = [""] * len(heads), []
    for name in dict.fromkeys(head.identity[kind]["name"] for head in heads):
        rows = [row for row, head in enumerate(heads) if head.identity[kind]["name"] == name]
        parts = [heads[row].identity[kind] for row in rows]
        changed = sorted({option for row in rows for option in heads[row].changed[kind]} - set(shared))
        words, common = _without_usual([{own: part[own] for own in changed if own in part} for part in parts])
        for row, word in zip(rows, words, strict=True):
            found[row] = f"{name} {word}".rstrip()
        usual += [f"{name} {common}"] if common else []
    return found, usual


def _without_usual(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], str]:
    """The options of each row in words, without those that more than half of the rows share; and those. A row whose code is older
    than an option lacks it."""
    words = [{option: f"{option}={option_text(value)}" for option, value in row.items()} for row in rows]
    usual = []
    for option in dict.fromkeys(option for row in words for option in row):
        word, count = Counter(row.get(option, "") for row in words).most_common(1)[0]
        if word and count < len(rows) < 2 * count:
            usual.append(word)
    return [" ".join(word for word in row.values() if word not in usual) for row in words], " ".join(usual)


def _versioned(heads: Sequence[Record], kind: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels. A label that stands for several versions of the code gets the first digits of that code's digest."""
    codes = [head.identity["code"][kind] for head in heads]
    versions: dict[str, set[str]] = {}
    for label, code in zip(labels, codes, strict=True):
        versions.setdefault(label, set()).add(code)
    return tuple(
        f"{label} @{code[:4]}" if len(versions[label]) > 1 else label for label, code in zip(labels, codes, strict=True)
    )


def own_options(records: Sequence[Record]) -> list[str]:
    """The options of OWN in which the rows differ."""
    return [name for name in OWN if len({canonical(record.identity["trainer"][name]) for record in records}) > 1]


def shared_options(records: Sequence[Record]) -> dict[str, Any]:
    """The changed network options on which all networks that have them agree, unless only one network of several has them."""
    parts = [record.identity["network"] for record in records]
    count = len({part["name"] for part in parts})
    shared = {}
    for option in sorted({option for record in records for option in record.changed["network"]}):
        holders = [part for part in parts if option in part]
        values = {canonical(part[option]) for part in holders}
        if len(values) == 1 and (count == 1 or len({part["name"] for part in holders}) > 1):
            shared[option] = holders[0][option]
    return shared


def option_text(value: Any) -> str:
    """An option's value as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(option_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
