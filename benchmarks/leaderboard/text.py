"""Tables as text: on a terminal, as Markdown, as CSV. latex.py and fragment.py have the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from ..tables.view import Column, TableView

WIDTH = 120  # characters of a line on the terminal
NAMES = ("method", "network")


def terminal(panel: TableView) -> str:
    """The scores in lines of at most WIDTH characters where names allow it, and the notes."""
    lines = [panel.title]
    for block in blocks([column for column in panel.columns if column.compact]):
        cells = zip(*(column.lines for column in block), strict=True)
        above, *rest = ("  ".join(parts).rstrip() for parts in cells)
        lines += ["", *[above] * bool(above), *rest]
    notes = [line for note in panel.notes for line in wrap(note, WIDTH)]
    return "\n".join([*lines, "", *notes] if notes else lines)


def blocks(found: Sequence[Column]) -> Iterator[list[Column]]:
    """The columns side by side as far as they fit; each further block begins with the names again."""
    names = [column for column in found if column.name in NAMES]
    block: list[Column] = []
    for column in found:
        if block and sum(len(other.lines[0]) + 2 for other in (*block, column)) - 2 > WIDTH:
            yield block
            block = [*names]
        block.append(column)
    yield block


def markdown(found: Sequence[TableView]) -> str:
    """Every table in full, with its notes and its caption."""
    lines = ["# Leaderboard", ""]
    for panel in found:
        align = {True: "--:", False: ":--"}
        cells = [[column.name, align[column.is_number], *column.cells()] for column in panel.columns]
        lines += [f"## {panel.title}", "", *(f"**{note}**  " for note in panel.notes), *[""] * bool(panel.notes)]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in zip(*cells, strict=True)
        ]
        lines += ["", *(f"- {line}" for line in panel.caption), ""]
    return "\n".join(lines)


def to_csv(found: Sequence[TableView]) -> str:
    """All tables below each other, numbers with all their digits; columns that a table lacks are empty."""
    rows: list[dict[str, Any]] = []
    for panel in found:
        named = panel.whole
        for values in zip(*(column.values for column in named), strict=True):
            facts = {"table": panel.title, "scores": panel.selection}
            rows.append(facts | dict(zip((column.name for column in named), values, strict=True)))
    heads = dict.fromkeys(head for row in rows for head in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(heads), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
