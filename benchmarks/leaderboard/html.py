"""Tables as pieces of HTML, for a page of one's own: no script, no style, best values `<strong>`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ..tables.view import TableView

LEADING = {1: "<strong>{}</strong>", 2: "<u>{}</u>"}


def fragment(found: Sequence[TableView]) -> str:
    """A `<section>` a table."""
    return "\n".join(line for panel in found for line in lines(panel)) + "\n"


def lines(panel: TableView) -> Iterator[str]:
    """A table's lines."""
    yield "<section>"
    yield f"<h2>{escape(panel.title)}</h2>"
    yield from (f"<p><strong>{escape(note)}</strong></p>" for note in panel.notes)
    yield "<table>"
    heads = "".join(f'<th scope="col">{escape(column.name)}</th>' for column in panel.columns)
    yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    cells = [
        [
            LEADING.get(place, "{}").replace("{}", escape(cell))
            for place, cell in zip(column.places(), column.cells(), strict=True)
        ]
        for column in panel.columns
    ]
    aligned = [' style="text-align: right"' if column.is_number else "" for column in panel.columns]
    for row in zip(*cells, strict=True):
        yield f"<tr>{''.join(f'<td{style}>{cell}</td>' for style, cell in zip(aligned, row, strict=True))}</tr>"
    yield "</tbody>"
    yield "</table>"
    yield f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in panel.caption)}</ul>"
    yield "</section>"
