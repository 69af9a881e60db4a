"""Tables as a page without a script, in the style of the report: for where scripts may not run, and to cut a table out of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from ..tables.reference_lines import LINES
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
    yield f"<h2>{_prose(view.title)}</h2>"
    if view.headline:
        yield f'<p class="headline">{_prose(view.headline)}</p>'
    if view.notes:
        yield f'<div class="notes">{"".join(f"<p>{_prose(note)}</p>" for note in view.notes)}</div>'
    yield '<div class="scroll" tabindex="0"><table>'
    heads = (f'<th scope="col"{_kinds(column)}>{_heading(column)}</th>' for column in view.shown)
    yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    lines = [set(names) & set(LINES) for names in zip(*(column.cells for column in view.shown), strict=True)]
    for line, row in zip(lines, zip(*map(_cells, view.shown), strict=True), strict=True):
        yield f"{'<tr class=line>' if line else '<tr>'}{''.join(row)}</tr>"
    yield "</tbody>"
    yield "</table></div>"
    yield _list(view.caption)
    if view.facts:
        yield f"<details><summary>How these numbers were made</summary>{_list(view.facts)}</details>"
    yield "</section>"


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="soft">{"".join(f"<li>{_prose(line)}</li>" for line in lines)}</ul>'


def _prose(text: str) -> str:
    """The text with its `code`, and with arrows and signs as they are printed."""
    parts = escape(text.replace("->", "→").replace("+-", "±")).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _heading(column: Column) -> str:
    """The heading, that of signs in letters of one width above each of them."""
    lines = [line for line in column.heading if line.strip()] or [column.name]
    if column.of_one_width:
        return "<br>".join(f"<code>{escape(line).replace(' ', '&nbsp;')}</code>" for line in lines)
    return _prose(" ".join(lines))


def _cells(column: Column) -> Iterator[str]:
    """The cells of a column; the method names its row."""
    tag = 'th scope="row"' if column.name == "method" else "td"
    for place, cell in zip(column.leaders, column.shown(" ± "), strict=True):
        text = f"<code>{escape(cell)}</code>" if column.of_one_width else _prose(cell)
        yield f"<{tag}{_kinds(column, LEADERS.get(place, ''))}>{text}</{tag.split()[0]}>"


def _kinds(column: Column, leader: str = "") -> str:
    """How a cell is shown, as a class of the style."""
    kinds = ["head"] * (column.name == "method") + ["number"] * column.is_number + [leader] * bool(leader)
    return f' class="{" ".join(kinds)}"' if kinds else ""
