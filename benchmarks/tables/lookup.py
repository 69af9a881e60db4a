"""Which rows of a table a name means: METHOD [OPTION=VALUE ...] [@CODE] [/NETWORK [OPTION=VALUE ...] [@CODE]]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from .labels import OWN, text
from .row import Row
from .table import Table


def meant(table: Table, name: str) -> list[Row]:
    """The rows that a name means: those labelled so, else those whose method, network and options fit it."""
    labelled = [row for row in table.rows if name in (row.method, row.full_name)]
    return labelled or [row for row in table.rows if fits(row, name)]


def fits(row: Row, name: str) -> bool:
    """Whether METHOD [OPTION=VALUE ...] [@CODE] [/NETWORK [OPTION=VALUE ...] [@CODE]] describes the row."""
    identity = row.identity
    own = {option: identity["trainer"][option] for option in OWN}
    parts = name.split("/", 1)
    for kind, part, more in zip(("method", "network"), parts, (own, {}), strict=False):
        options = {option: text(value) for option, value in (more | identity[kind]).items() if option != "name"}
        known = {
            identity[kind]["name"],
            f"@{identity['code'][kind][:4]}",
            *(f"{key}={value}" for key, value in options.items()),
        }
        words = part.split()
        if words[:1] != [identity[kind]["name"]] or not known.issuperset(words):
            return False
    return True


def nearest(name: str, rows: Sequence[Row]) -> list[str]:
    """All names there are, those of methods that are spelt like it first."""
    methods = {row.full_name: row.identity["method"]["name"] for row in rows}
    near = get_close_matches(re.split(r"[ /]", name)[0], set(methods.values()), 3)
    return sorted(methods, key=lambda label: (methods[label] not in near, label))


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"{name!r}" for name in names)
