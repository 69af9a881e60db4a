"""All pairs of a table's methods: a matrix of signs for people, a line each in the CSV."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..statistics import LETTERED, Pairs
from ..table import Table
from .view import Column, TableView, name_columns

BETTER, WORSE, OPEN, ITSELF = "+-.o"
GROUP = 5  # signs that stand together


def pair_views(table: Table) -> Iterator[TableView]:
    """The matrix where there are more methods than letters can tell apart, and the list; nothing where nothing is tested."""
    if table.pairs is None:
        return
    if len(table.pairs.rows) > LETTERED:
        yield _matrix(table, table.pairs)
    yield _list(table, table.pairs)


def _matrix(table: Table, pairs: Pairs) -> TableView:
    """A line of signs for each method: what it is shown to be better than, and worse."""
    rows, count = [table.rows[number] for number in pairs.rows], len(pairs.rows)
    signs = np.where(pairs.significant, np.where(pairs.difference > 0, BETTER, WORSE), OPEN)
    np.fill_diagonal(signs, ITSELF)
    numbers = list(range(1, count + 1))
    tens, ones = (_grouped("".join(f"{number:>2}"[place] for number in numbers)) for place in (0, 1))
    shown = (
        Column("no.", tuple(numbers)),
        *name_columns([row.name for row in rows]),
        Column("against", tuple(_grouped("".join(own)) for own in signs), heading=(tens, ones), of_one_width=True),
    )
    caption: tuple[str, ...] = (
        f"By {table.metric.heading}, against the method of each number: {BETTER} shown to be better, {WORSE} shown to be worse, "
        f"{OPEN} not shown to differ (5 % for all pairs together). Ablations, rows that equal another and rows with a diverged "
        "seed are no methods of this family.",
    )
    if below := sum(row.below_lookup is True for row in rows):
        caption = (
            *caption,
            f"{below} of these {count} are below the look-up table: of them it says which is worse, no more.",
        )
    return TableView(f"{table.title}: pairs of methods", table.selection, shown, (), caption, in_csv=False)


def _grouped(signs: str) -> str:
    return " ".join(signs[start : start + GROUP] for start in range(0, len(signs), GROUP))


def _list(table: Table, pairs: Pairs) -> TableView:
    """Each pair once, the better row first, with the interval that holds together with all others."""
    above, below = np.triu_indices(len(pairs.rows), 1)
    first, second = ([table.rows[pairs.rows[place]] for place in places] for places in (above, below))
    numbers = {
        "difference": pairs.difference,
        "difference low": pairs.low,
        "difference high": pairs.high,
        "difference p": pairs.adjusted,
    }
    shown = (
        Column("method", tuple(row.method for row in first), compact=False),
        Column("network", tuple(row.network for row in first), compact=False),
        Column("minus method", tuple(row.method for row in second), compact=False),
        Column("minus network", tuple(row.network for row in second), compact=False),
        *(
            Column(name, tuple(own[above, below].tolist()), table.metric.digits, compact=False)
            for name, own in numbers.items()
        ),
    )
    return TableView(f"{table.title}: pairs of methods", table.selection, shown)
