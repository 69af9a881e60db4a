"""Tables as a page without a script, in the style of the report: for where scripts may not run, and to cut a table out of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from ..tables.views.view import Column, TableView

STYLE = Path(__file__).parents[1] / "report" / "page" / "page.css"
LEADERS = {1: "best", 2: "second"}
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>FedSynth leaderboard</title>
<style>
{}</style>
</head>
<body>
<h1>FedSynth leaderboard</h1>"""


def to_html(views: Sequence[TableView]) -> str:
    """The page, with a `<section>` for each table."""
    sections = (line for view in views if view.shown for line in _section(view))
    return "\n".join([HEAD.format(STYLE.read_text("utf-8")), *sections, "</body>", "</html>"]) + "\n"


def _section(view: TableView) -> Iterator[str]:
    yield "<section>"
    yield f"<h2>{escape(view.title)}</h2>"
    if view.headline:
        yield f"<p><strong>{escape(view.headline)}</strong></p>"
    if view.notes:
        yield f'<div class="notes">{"".join(f"<p>{escape(note)}</p>" for note in view.notes)}</div>'
    yield '<div class="scroll" tabindex="0"><table>'
    heads = (f'<th scope="col"{_kinds(column)}>{escape(column.name)}</th>' for column in view.shown)
    yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for row in zip(*map(_cells, view.shown), strict=True):
        yield f"<tr>{''.join(row)}</tr>"
    yield "</tbody>"
    yield "</table></div>"
    yield f'<ul class="soft">{"".join(f"<li>{escape(line)}</li>" for line in (*view.caption, *view.facts))}</ul>'
    yield "</section>"


def _cells(column: Column) -> Iterator[str]:
    """The cells of a column; the method names its row."""
    tag = 'th scope="row"' if column.name == "method" else "td"
    for place, cell in zip(column.leaders, column.shown(" ± "), strict=True):
        text = f"<code>{escape(cell)}</code>" if column.of_one_width else escape(cell)
        yield f"<{tag}{_kinds(column, LEADERS.get(place, ''))}>{text}</{tag.split()[0]}>"


def _kinds(column: Column, leader: str = "") -> str:
    """How a cell is shown, as a class of the style."""
    kinds = ["head"] * (column.name == "method") + ["number"] * column.is_number + [leader] * bool(leader)
    return f' class="{" ".join(kinds)}"' if kinds else ""
