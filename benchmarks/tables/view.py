"""A column of a table, as every format shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A value a row, None where there is none."""

    name: str
    values: tuple[str | int | float | None, ...]
    decimals: int = 0
    compact: bool = True  # shown on the terminal and in LaTeX too
    heading: tuple[str, str] = ("", "")  # there, in two lines, if not the name
    better: Literal[-1, 0, 1] = 0  # 1 where the highest value is the best, -1 where the lowest is, 0 where none is
    never_0: bool = False  # probabilities: less than half of the last decimal is printed as "<" that decimal

    @cached_property
    def is_number(self) -> bool:
        return not any(isinstance(value, str) for value in self.values)

    def cells(self) -> list[str]:
        """The values as they are printed."""
        return list(self._cells)

    @cached_property
    def _cells(self) -> list[str]:
        return [self.cell(value) for value in self.values]

    def cell(self, value: str | int | float | None) -> str:
        """A value as it is printed."""
        if isinstance(value, float):
            if self.never_0 and value < 0.5 * 10**-self.decimals:
                return f"<{10**-self.decimals:.{self.decimals}f}"
            return f"{round(value, self.decimals) + 0.0:,.{self.decimals}f}"  # + 0.0 makes 0 of -0
        return "-" if value is None else str(value)

    @cached_property
    def lines(self) -> list[str]:
        """Two lines of heading and the cells, all of one width: words begin on the left, numbers end on the right."""
        above, head = self.heading
        found = [above, head or self.name, *self.cells()]
        width = max(map(len, found))
        return [cell.rjust(width) if self.is_number else cell.ljust(width) for cell in found]

    def places(self) -> list[int]:
        """1 for the best value, 2 for the second best, 0 for others; values that are printed alike share a place."""
        order: Sequence[float] = sorted(
            {round(value, self.decimals) for value in self.values if isinstance(value, float)}, reverse=self.better > 0
        )
        leading = {value: place for place, value in enumerate(order[:2], 1)} if self.better and len(order) > 1 else {}
        return [leading.get(round(value, self.decimals), 0) if isinstance(value, float) else 0 for value in self.values]


class TableViewError(ValueError):
    """A column that no table has; the message lists those there are."""


@dataclass(frozen=True)
class TableView:
    """Columns of equal length; `hidden` ones are for the CSV, where they take the place of those of the same name."""

    title: str
    selection: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    hidden: tuple[Column, ...] = ()

    @property
    def whole(self) -> tuple[Column, ...]:
        """The columns as in the CSV."""
        found = {column.name: column for column in (*self.columns, *self.hidden)}
        return tuple(found.values())

    def take(self, places: Sequence[int], *notes: str) -> TableView:
        """These rows, in this order."""

        def taken(found: Sequence[Column]) -> tuple[Column, ...]:
            return tuple(replace(column, values=tuple(column.values[place] for place in places)) for column in found)

        return replace(self, columns=taken(self.columns), hidden=taken(self.hidden), notes=(*self.notes, *notes))

    def sorted(self, name: str) -> TableView:
        """The rows by a column, the best first, or the least where none is best; those without a value last.

        Raises TableViewError for a column that does not exist.
        """
        known = {column.name: column for column in self.whole}
        if name not in known:
            near = get_close_matches(name, known, 3, 0.4) or list(known)
            raise TableViewError(f"{self.title}: no column {name!r}; there are {', '.join(map(repr, near))}")
        column = known[name]
        valued = [place for place, value in enumerate(column.values) if value is not None]
        rest = [place for place, value in enumerate(column.values) if value is None]
        if column.is_number:
            valued.sort(key=lambda place: float(column.values[place] or 0), reverse=column.better > 0)
        else:
            valued.sort(key=lambda place: str(column.values[place]))
        return self.take([*valued, *rest])
