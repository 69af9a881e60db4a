"""What the rows of a table are called: as short as tells them apart.

A name is that of the method or network and the options that were changed for one of its rows. Where rows differ in an option and
more than half of them have the same value, that value is left to the table's notes (`Names.usual`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..records.record import Record, canonical

OWN = ("lr", "server_rule", "corrupt", "common_start")  # trainer options that tell rows apart, not tables


@dataclass(frozen=True)
class Names:
    """Of every row, in order."""

    methods: tuple[str, ...]
    networks: tuple[str, ...]
    usual: tuple[str, ...]  # what they leave out, as it is typed

    @classmethod
    def of(cls, heads: Sequence[Record]) -> Names:
        """`heads`: one record of every row."""
        own = own_options(heads)
        trainers, common = said([{name: head.identity["trainer"][name] for name in own} for head in heads])
        methods, plain = labels(heads, "method", ())
        networks, built = labels(heads, "network", shared_options(heads))
        methods = [" ".join(filter(None, words)) for words in zip(methods, trainers, strict=True)]
        usual = tuple(filter(None, (common, *plain, *built)))
        return cls(versioned(heads, "method", methods), versioned(heads, "network", networks), usual)


def labels(heads: Sequence[Record], kind: str, shared: Iterable[str]) -> tuple[list[str], list[str]]:
    """The method or network (`kind`) of every row with what it says of its options, and what is usual for each name."""
    found, usual = [""] * len(heads), []
    for name in dict.fromkeys(head.identity[kind]["name"] for head in heads):
        rows = [row for row, head in enumerate(heads) if head.identity[kind]["name"] == name]
        parts = [heads[row].identity[kind] for row in rows]
        changed = sorted({option for row in rows for option in heads[row].changed[kind]} & set(parts[0]) - set(shared))
        words, common = said([{option: part[option] for option in changed} for part in parts])
        for row, word in zip(rows, words, strict=True):
            found[row] = f"{name} {word}".rstrip()
        usual += [f"{name} {common}"] if common else []
    return found, usual


def said(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], str]:
    """What each row says of its options, and what none says since it is usual."""
    words = [[f"{option}={text(value)}" for option, value in row.items()] for row in rows]
    usual = []
    for column in zip(*words, strict=True):
        word, count = Counter(column).most_common(1)[0]
        if count < len(rows) < 2 * count:
            usual.append(word)
    return [" ".join(word for word in row if word not in usual) for row in words], " ".join(usual)


def versioned(heads: Sequence[Record], kind: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, those that stand for several versions of the code with the first digits of that code's digest."""
    codes = [head.identity["code"][kind] for head in heads]
    versions: dict[str, set[str]] = {}
    for label, code in zip(labels, codes, strict=True):
        versions.setdefault(label, set()).add(code)
    several = [len(versions[label]) > 1 for label in labels]
    return tuple(
        f"{label} @{code[:4]}" if more else label for label, code, more in zip(labels, codes, several, strict=True)
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


def text(value: Any) -> str:
    """An option's value as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
