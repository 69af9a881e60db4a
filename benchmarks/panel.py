"""A table as every format shows it: columns side by side, what must be read with them, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from .column import Column
from .columns import columns
from .table import Table


class PanelError(ValueError):
    """A column that no table has; the message lists those there are."""


@dataclass(frozen=True)
class Panel:
    """Columns of equal length; `hidden` ones are for the CSV, where they take the place of those of the same name."""

    title: str
    selection: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    hidden: tuple[Column, ...] = ()

    @classmethod
    def of(cls, table: Table) -> Panel:
        """The whole table."""
        rows = table.rows
        hidden = [
            Column("seeds", tuple(len(row.seeds) for row in rows)),
            Column("missing seeds", tuple(len(row.missing) for row in rows)),
            *(Column(f"{part} code", tuple(row.code[part] for row in rows)) for part in ("method", "network")),
        ]
        return cls(table.title, table.selection, tuple(columns(table)), table.notes, table.caption, tuple(hidden))

    @property
    def whole(self) -> tuple[Column, ...]:
        """The columns as in the CSV."""
        found = {column.name: column for column in (*self.columns, *self.hidden)}
        return tuple(found.values())

    def take(self, places: Sequence[int], *notes: str) -> Panel:
        """These rows, in this order."""

        def taken(found: Sequence[Column]) -> tuple[Column, ...]:
            return tuple(replace(column, values=tuple(column.values[place] for place in places)) for column in found)

        return replace(self, columns=taken(self.columns), hidden=taken(self.hidden), notes=(*self.notes, *notes))

    def sorted(self, name: str) -> Panel:
        """The rows by a column, the best first, or the least where none is best; those without a value last.

        Raises PanelError for a column that does not exist.
        """
        known = {column.name: column for column in self.whole}
        if name not in known:
            near = get_close_matches(name, known, 3, 0.4) or list(known)
            raise PanelError(f"{self.title}: no column {name!r}; there are {', '.join(map(repr, near))}")
        column = known[name]
        valued = [place for place, value in enumerate(column.values) if value is not None]
        rest = [place for place, value in enumerate(column.values) if value is None]
        if column.is_number:
            valued.sort(key=lambda place: float(column.values[place] or 0), reverse=column.better > 0)
        else:
            valued.sort(key=lambda place: str(column.values[place]))
        return self.take([*valued, *rest])
