"""A column of a table, as every format shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
