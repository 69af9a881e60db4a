"""Tables as pieces of HTML for a page of one's own: no script and no style, best values `<strong>`, second best `<u>`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ..tables.views.view import TableView

LEADERS = {1: "<strong>{}</strong>", 2: "<u>{}</u>"}


def to_html(views: Sequence[TableView]) -> str:
    """A `<section>` for each table."""
    return "\n".join(line for view in views for line in _section(view)) + "\n"


def _section(view: TableView) -> Iterator[str]:
    yield "<section>"
    yield f"<h2>{escape(view.title)}</h2>"
    yield from (f"<p><strong>{escape(note)}</strong></p>" for note in view.notes)
    yield "<table>"
    heads = "".join(f'<th scope="col">{escape(column.name)}</th>' for column in view.columns)
    yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    cells = [
        [
            LEADERS.get(place, "{}").replace("{}", escape(cell))
            for place, cell in zip(column.leaders, column.cells, strict=True)
        ]
        for column in view.columns
    ]
    styles = [' style="text-align: right"' if column.is_number else "" for column in view.columns]
    for row in zip(*cells, strict=True):
        yield f"<tr>{''.join(f'<td{style}>{cell}</td>' for style, cell in zip(styles, row, strict=True))}</tr>"
    yield "</tbody>"
    yield "</table>"
    yield f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in view.caption)}</ul>"
    yield "</section>"
