"""A table as every format shows it: columns with names, values and decimals, and the words that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Literal

NAMES = ("method", "network")  # the columns that say which row it is


@dataclass(frozen=True)
class Column:
    """A value for each row, None where there is none."""

    name: str
    values: tuple[str | int | float | None, ...]
    decimals: int = 0
    compact: bool = True  # shown wherever people read; the CSV and the page have every column
    heading: tuple[str, str] = ("", "")  # of LaTeX and the terminal, in two lines, if not the name
    better: Literal[-1, 0, 1] = 0  # 1 where the highest value is the best, -1 where the lowest is, 0 where none is
    never_0: bool = False  # for probabilities: less than half of the last decimal is printed as "<" that decimal
    margins: tuple[float | None, ...] = ()  # halves of the intervals, shown behind the values
    marks: tuple[str, ...] = ()  # shown behind these
    rivals: tuple[bool, ...] = ()  # the rows that may be the best; all where it is empty
    of_one_width: bool = False  # set in letters of one width

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

    def shown(self, between: str = " +- ") -> list[str]:
        """The cells with their margins and marks."""
        margins = [
            "" if value is None else f"{between}{self.cell(value)}"
            for value in self.margins or [None] * len(self.values)
        ]
        marks = self.marks or [""] * len(self.values)
        return ["".join(parts) for parts in zip(self.cells, margins, marks, strict=True)]

    @cached_property
    def lines(self) -> list[str]:
        """Two lines of heading, and what is shown."""
        above, head = self.heading
        return [above, head or self.name, *self.shown()]

    def with_margins(self, margins: Column) -> Column:
        """With the values of another column shown behind its own, as halves of their intervals."""
        return replace(self, margins=tuple(value if isinstance(value, float) else None for value in margins.values))

    def take(self, rows: Sequence[int]) -> Column:
        """These rows, in this order."""
        return replace(
            self,
            values=tuple(self.values[row] for row in rows),
            margins=self.margins and tuple(self.margins[row] for row in rows),
            marks=self.marks and tuple(self.marks[row] for row in rows),
            rivals=self.rivals and tuple(self.rivals[row] for row in rows),
        )

    def extended(self, values: Sequence[str | float | None]) -> Column:
        """With further rows, which are no rivals and have neither margins nor marks."""
        more, rivals = len(values), self.rivals or (True,) * len(self.values)
        return replace(
            self,
            values=(*self.values, *values),
            margins=self.margins and (*self.margins, *[None] * more),
            marks=self.marks and (*self.marks, *[""] * more),
            rivals=(*rivals, *[False] * more),
        )

    @cached_property
    def width(self) -> int:
        return max(map(len, self.lines))

    @cached_property
    def leaders(self) -> list[int]:
        """1 for the best value, 2 for the second best, 0 for others; values that are printed alike share a place."""
        rivals = self.rivals or (True,) * len(self.values)
        rounded = [
            round(value, self.decimals) if rival and isinstance(value, float) else None
            for rival, value in zip(rivals, self.values, strict=True)
        ]
        order: Sequence[float] = sorted({value for value in rounded if value is not None}, reverse=self.better > 0)
        leading = {value: place for place, value in enumerate(order[:2], 1)} if self.better and len(order) > 1 else {}
        return [0 if value is None else leading.get(value, 0) for value in rounded]


def name_columns(names: Sequence[tuple[str, str]]) -> Iterator[Column]:
    """The method and the network of each row. The network is not shown where all rows have the same one."""
    yield Column("method", tuple(method for method, _ in names))
    networks = tuple(network for _, network in names)
    yield Column("network", networks, compact=len(set(networks)) > 1)


def without_empty(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns that have a value in some row."""
    return tuple(column for column in columns if any(value is not None for value in column.values))


def side_by_side(columns: Sequence[Column], most: int, width: Callable[[Column], int]) -> Iterator[list[Column]]:
    """The columns in groups that fit into a width; each further group begins with the names again."""
    names = [column for column in columns if column.name in NAMES]
    group: list[Column] = []
    for column in columns:
        if group and sum(map(width, (*group, column))) > most:
            yield group
            group = [*names]
        group.append(column)
    yield group


class TableViewError(ValueError):
    """A name that no row or no column has; the message lists those there are."""


@dataclass(frozen=True)
class TableView:
    """Columns of equal length. `hidden` columns are in the CSV alone, in place of those of the same name."""

    title: str
    selection: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    hidden: tuple[Column, ...] = ()
    headline: str = ""  # who leads
    facts: tuple[str, ...] = ()  # how the numbers were made: "Name: ..."
    in_csv: bool = True  # False where another view has the same numbers

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns that people read; none where the view is of the CSV alone."""
        return tuple(column for column in self.columns if column.compact)

    @property
    def csv_columns(self) -> tuple[Column, ...]:
        by_name = {column.name: column for column in (*self.columns, *self.hidden)}
        return tuple(by_name.values())

    def take(self, rows: Sequence[int], *notes: str) -> TableView:
        """These rows, in this order."""
        columns, hidden = (tuple(column.take(rows) for column in own) for own in (self.columns, self.hidden))
        return replace(self, columns=columns, hidden=hidden, notes=(*self.notes, *notes))

    def showing(self, names: Sequence[str]) -> TableView:
        """With these columns shown, in this order. Raises TableViewError for a column that does not exist."""
        chosen = [replace(self.column(name), compact=True) for name in names]
        rest = [replace(column, compact=False) for column in self.columns if column.name not in names]
        return replace(self, columns=(*chosen, *rest))

    def column(self, name: str) -> Column:
        """A column by its name. Raises TableViewError for one that does not exist."""
        known = {column.name: column for column in (*self.hidden, *self.columns)}
        if name not in known:
            near = get_close_matches(name, known, 3, 0.4) or list(known)
            raise TableViewError(f"{self.title}: no column {name!r}; there are {', '.join(map(repr, near))}")
        return known[name]

    def sorted(self, name: str) -> TableView:
        """The rows ordered by a column: the best value first, or the lowest where none is best, and rows without a value last.

        Raises TableViewError for a column that does not exist.
        """
        column = self.column(name)
        valued = [row for row, value in enumerate(column.values) if value is not None]
        rest = [row for row, value in enumerate(column.values) if value is None]
        if column.is_number:
            valued.sort(key=lambda row: float(column.values[row] or 0), reverse=column.better > 0)
        else:
            valued.sort(key=lambda row: str(column.values[row]))
        return self.take([*valued, *rest])
