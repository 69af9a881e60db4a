"""Tables as text: on a terminal, as Markdown and as CSV. LaTeX and HTML have files of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from ..records.text_table import markdown_table, text_table
from ..tables.views.view import Column, TableView

WIDTH = 120  # characters of a line on the terminal
NAMES = ("method", "network")


def to_terminal(view: TableView) -> str:
    """The compact columns in lines of at most WIDTH characters where names allow it, and the notes."""
    lines = [view.title]
    for columns in _side_by_side([column for column in view.columns if column.compact]):
        rows = list(zip(*(column.lines for column in columns), strict=True))
        above, *rest = text_table(rows, right=_numbers(columns))
        lines += ["", *[above] * bool(above), *rest]
    notes = [line for note in view.notes for line in wrap(note, WIDTH)]
    return "\n".join([*lines, "", *notes] if notes else lines)


def _numbers(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in enumerate(columns) if column.is_number]


def _side_by_side(columns: Sequence[Column]) -> Iterator[list[Column]]:
    """The columns in groups that fit into WIDTH; each further group begins with the names again."""
    names = [column for column in columns if column.name in NAMES]
    group: list[Column] = []
    for column in columns:
        if group and sum(other.width + 2 for other in (*group, column)) - 2 > WIDTH:
            yield group
            group = [*names]
        group.append(column)
    yield group


def to_markdown(views: Sequence[TableView]) -> str:
    """Every table in full, with its notes and its caption."""
    lines = ["# Leaderboard", ""]
    for view in views:
        cells = zip(*([column.name, *column.cells] for column in view.columns), strict=True)
        lines += [f"## {view.title}", "", *(f"**{note}**  " for note in view.notes), *[""] * bool(view.notes)]
        lines += markdown_table(list(cells), right=_numbers(view.columns))
        lines += ["", *(f"- {line}" for line in view.caption), ""]
    return "\n".join(lines)


def to_csv(views: Sequence[TableView]) -> str:
    """All tables below each other, numbers with six digits. A column that a table does not have is empty there."""
    rows: list[dict[str, Any]] = []
    for view in views:
        columns = view.csv_columns
        for values in zip(*(column.values for column in columns), strict=True):
            facts = {"table": view.title, "scores": view.selection}
            numbers = [float(f"{value:.6g}") if isinstance(value, float) else value for value in values]
            rows.append(facts | dict(zip((column.name for column in columns), numbers, strict=True)))
    heads = dict.fromkeys(head for row in rows for head in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(heads), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
