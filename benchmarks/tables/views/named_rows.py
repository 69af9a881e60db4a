"""Which rows of a table a name means: METHOD [OPTION=VALUE ...] [@CODE] [/NETWORK [OPTION=VALUE ...] [@CODE]]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from ..labels import OWN, option_text
from ..row import Row
from ..table import Table


def rows_named(table: Table, name: str) -> list[Row]:
    """The rows that a name means: those that are labelled so, else those whose method, network and options fit it."""
    labelled = [row for row in table.rows if name in (row.method, row.full_name)]
    return labelled or [row for row in table.rows if _fits(row, name)]


def _fits(row: Row, name: str) -> bool:
    """Whether a name describes the row."""
    own = {option: row.identity["trainer"][option] for option in OWN}
    for kind, part, more in zip(("method", "network"), name.split("/", 1), (own, {}), strict=False):
        options = more | row.identity[kind]
        head = options.pop("name")
        words = part.split()
        known = {head, f"@{row.code[kind][:4]}", *(f"{key}={option_text(value)}" for key, value in options.items())}
        if words[:1] != [head] or not known.issuperset(words):
            return False
    return True


def no_such_row(name: str, rows: Sequence[Row]) -> str:
    """The message for a name that no row has: it lists all names, those with a similar method first."""
    methods = {row.full_name: row.identity["method"]["name"] for row in rows}
    near = get_close_matches(re.split(r"[ /]", name)[0], set(methods.values()), 3)
    choices = sorted(methods, key=lambda label: (methods[label] not in near, label))
    return f"no row is called {name!r}; there are {quoted(choices)}"


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"{name!r}" for name in names)
