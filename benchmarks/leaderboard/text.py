"""Tables as text: on a terminal, as Markdown and as CSV. LaTeX and HTML have files of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from ..records.text_table import markdown_table, text_table
from ..tables.views.view import Column, TableView, side_by_side

WIDTH = 120  # characters of a line on the terminal
PAGE = 122  # of the width of a README on GitHub, 1,012 pixels
PADDING = 4  # of a cell there


def to_terminal(view: TableView) -> str:
    """The columns that people read in lines of at most WIDTH characters where names allow it, and the notes."""
    lines = [view.title, *wrap(view.headline, WIDTH)]
    for columns in side_by_side(view.shown, WIDTH, lambda column: column.width + 2):
        rows = list(zip(*(column.lines for column in columns), strict=True))
        above, *rest = text_table(rows, right=_numbers(columns))
        lines += ["", *[above] * bool(above), *rest]
    notes = [line for note in view.notes for line in wrap(note, WIDTH)]
    return "\n".join([*lines, "", *notes] if notes else lines)


def _numbers(columns: Sequence[Column]) -> list[int]:
    return [place for place, column in enumerate(columns) if column.is_number]


def to_markdown(views: Sequence[TableView]) -> str:
    """Every table with its headline, notes and caption; how its numbers were made unfolds by a click."""
    lines = ["# Leaderboard", ""]
    for view in (view for view in views if view.shown):
        lines += [f"## {view.title}", "", *[f"**{view.headline}**", ""] * bool(view.headline)]
        lines += [line for note in view.notes for line in (note, "")]
        for columns in side_by_side(view.shown, PAGE, _narrowest):
            cells = zip(*(_markdown_cells(column) for column in columns), strict=True)
            lines += [*markdown_table(list(cells), right=_numbers(columns)), ""]
        lines += [f"- {line}" for line in view.caption]
        if view.facts:
            facts = (f"- {line}" for line in view.facts)
            lines += ["", "<details><summary>How these numbers were made</summary>", "", *facts, "", "</details>"]
        lines += [""] * bool(view.caption or view.facts)
    return "\n".join(lines)


def _narrowest(column: Column) -> int:
    """The characters that a column needs in Markdown: words break at their blanks, numbers do not."""
    head, *cells = _markdown_cells(column)
    words = [*head.split(), *(cells if column.is_number or column.of_one_width else " ".join(cells).split())]
    return PADDING + max(map(len, words))


def _markdown_cells(column: Column) -> list[str]:
    """The heading and the cells."""
    heading = [line for line in column.heading if line.strip()] or [column.name]
    if column.of_one_width:
        return ["<br>".join(f"`{line}`" for line in heading), *(f"`{cell}`" for cell in column.cells)]
    return [" ".join(heading), *column.shown("\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")]


def to_csv(views: Sequence[TableView]) -> str:
    """All tables below each other, numbers with six digits. A column that a table does not have is empty there."""
    kept = [(view, view.csv_columns) for view in views if view.in_csv]
    heads = list(dict.fromkeys(["table", "scores", *(column.name for _, columns in kept for column in columns)]))
    place = {head: number for number, head in enumerate(heads)}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    for view, columns in kept:
        empty: list[Any] = [view.title, view.selection, *[""] * (len(heads) - 2)]
        places = [place[column.name] for column in columns]
        for values in zip(*(map(_six_digits, column.values) for column in columns), strict=True):
            row = empty.copy()
            for at, value in zip(places, values, strict=True):
                row[at] = value
            writer.writerow(row)
    return out.getvalue()


def _six_digits(value: str | int | float | None) -> str | int | float | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value
