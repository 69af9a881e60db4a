"""A table as every format shows it: columns with names, values and decimals, and the words that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A value for each row, None where there is none."""

    name: str
    values: tuple[str | int | float | None, ...]
    decimals: int = 0
    compact: bool = True  # shown on the terminal and in LaTeX too
    heading: tuple[str, str] = ("", "")  # there, in two lines, if not the name
    better: Literal[-1, 0, 1] = 0  # 1 where the highest value is the best, -1 where the lowest is, 0 where none is
    never_0: bool = False  # for probabilities: less than half of the last decimal is printed as "<" that decimal

    @cached_property
    def is_number(self) -> bool:
        return not any(isinstance(value, str) for value in self.values)

    @cached_property
    def cells(self) -> list[str]:
        """The values as they are printed."""
        return [self.cell(value) for value in self.values]

    def cell(self, value: str | int | float | None) -> str:
        """A value as it is printed."""
        if isinstance(value, float):
            if self.never_0 and value < 0.5 * 10**-self.decimals:
                return f"<{10**-self.decimals:.{self.decimals}f}"
            return f"{round(value, self.decimals) + 0.0:,.{self.decimals}f}"  # + 0.0 turns -0 into 0
        return "-" if value is None else str(value)

    @property
    def lines(self) -> list[str]:
        """Two lines of heading, and the cells."""
        above, head = self.heading
        return [above, head or self.name, *self.cells]

    @cached_property
    def width(self) -> int:
        return max(map(len, self.lines))

    @cached_property
    def leaders(self) -> list[int]:
        """1 for the best value, 2 for the second best, 0 for others; values that are printed alike share a place."""
        order: Sequence[float] = sorted(
            {round(value, self.decimals) for value in self.values if isinstance(value, float)}, reverse=self.better > 0
        )
        leading = {value: place for place, value in enumerate(order[:2], 1)} if self.better and len(order) > 1 else {}
        return [leading.get(round(value, self.decimals), 0) if isinstance(value, float) else 0 for value in self.values]


def name_columns(names: Sequence[tuple[str, str]]) -> Iterator[Column]:
    """The method and the network of each row. The network is left out of compact formats where all rows have the same one."""
    yield Column("method", tuple(method for method, _ in names))
    networks = tuple(network for _, network in names)
    yield Column("network", networks, compact=len(set(networks)) > 1)


def without_empty(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns that have a value in some row."""
    return tuple(column for column in columns if any(value is not None for value in column.values))


class TableViewError(ValueError):
    """A name that no row or no column has; the message lists those there are."""


@dataclass(frozen=True)
class TableView:
    """Columns of equal length. `hidden` columns are shown in the CSV alone, in place of those of the same name."""

    title: str
    selection: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    hidden: tuple[Column, ...] = ()

    @property
    def csv_columns(self) -> tuple[Column, ...]:
        by_name = {column.name: column for column in (*self.columns, *self.hidden)}
        return tuple(by_name.values())

    def take(self, rows: Sequence[int], *notes: str) -> TableView:
        """These rows, in this order."""

        def taken(columns: Sequence[Column]) -> tuple[Column, ...]:
            return tuple(replace(column, values=tuple(column.values[row] for row in rows)) for column in columns)

        return replace(self, columns=taken(self.columns), hidden=taken(self.hidden), notes=(*self.notes, *notes))

    def sorted(self, name: str) -> TableView:
        """The rows ordered by a column: the best value first, or the lowest where none is best, and rows without a value last.

        Raises TableViewError for a column that does not exist.
        """
        known = {column.name: column for column in self.csv_columns}
        if name not in known:
            near = get_close_matches(name, known, 3, 0.4) or list(known)
            raise TableViewError(f"{self.title}: no column {name!r}; there are {', '.join(map(repr, near))}")
        column = known[name]
        valued = [row for row, value in enumerate(column.values) if value is not None]
        rest = [row for row, value in enumerate(column.values) if value is None]
        if column.is_number:
            valued.sort(key=lambda row: float(column.values[row] or 0), reverse=column.better > 0)
        else:
            valued.sort(key=lambda row: str(column.values[row]))
        return self.take([*valued, *rest])
