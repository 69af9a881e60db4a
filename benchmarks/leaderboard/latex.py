"""Tables for papers: LaTeX that needs the packages array and booktabs, the best value of a column bold, the second underlined.

It has the columns of the terminal; a row's flags are letters behind its name. How the numbers were made stands above each table
as a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from string import ascii_lowercase

from ..tables.views.view import NAMES, Column, TableView, side_by_side

ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "->": r"$\to$",
    "+-": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
}
PATTERN = re.compile("|".join(re.escape(sign) for sign in sorted(ESCAPED, key=len, reverse=True)))
BETWEEN = " +- "
LINE = 106  # characters of a line over both columns of a page
GAP = 2  # between columns of a table
NAME = 20  # of a name before it breaks
MARKS = "The best rival is bold, the second best underlined."
LEADERS = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def to_latex(views: Sequence[TableView], caption: str = "", label: str = "fedsynth") -> str:
    """A `table*` for each table, in a type that two columns of a page hold. `caption` stands in place of the title and of what
    follows it; `label` is that of the first table, and of the others with their numbers."""
    head = "% Made by `fedsynth leaderboard`. \\usepackage{array,booktabs}"
    shown = [view for view in views if view.shown]
    labels = [f"tab:{label}{number if number > 1 else ''}" for number in range(1, len(shown) + 1)]
    return (
        "\n\n".join([head, *("\n".join(_table(view, caption, own)) for view, own in zip(shown, labels, strict=True))])
        + "\n"
    )


def _table(view: TableView, caption: str, label: str) -> Iterator[str]:
    columns = [column for column in view.shown if column.name != "flags"]
    flags, legend = _letters_of_flags(view)
    yield from (f"% {line}" for line in view.facts)
    yield r"\begin{table*}"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{4pt}\setlength{\belowcaptionskip}{4pt}"
    marks = f" {MARKS}" if any(any(column.leaders) for column in columns) else ""
    yield rf"\caption{{{escape(caption) if caption else f'{escape(view.title)}.{marks}'}}}"
    yield rf"\label{{{label}}}"
    for number, part in enumerate(_parts(columns)):
        yield from [r"\medskip", ""] if number else []
        yield from _tabular(part, flags)
        yield ""
    yield r"\smallskip\raggedright"
    yield from legend
    yield from map(escape, (*filter(None, [view.headline]), *view.notes, *(() if caption else view.caption)))
    yield r"\end{table*}"


def _parts(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns in as few parts as pages are wide, the widest of them as narrow as it can be."""
    parts = list(side_by_side(columns, LINE, _least_width))
    for most in range(LINE - 1, 0, -1):
        narrower = list(side_by_side(columns, most, _least_width))
        if len(narrower) > len(parts):
            break
        parts = narrower
    return parts


def _tabular(columns: Sequence[Column], flags: Sequence[str]) -> Iterator[str]:
    """Columns that fit beside each other."""
    yield rf"\begin{{tabular}}{{@{{}}{''.join(_alignments(columns))}@{{}}}}"
    yield r"\toprule"
    if any(column.heading[0] for column in columns):
        yield _line(columns, [column.heading[0] for column in columns])
    yield _line(columns, [column.heading[1] or column.name for column in columns])
    yield r"\midrule"
    cells = [_marked_cells(column, flags if column.name == "method" else ()) for column in columns]
    for row in zip(*cells, strict=True):
        yield " & ".join(row) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _least_width(column: Column) -> int:
    return GAP + (min(column.width, NAME) if column.name in NAMES else column.width)


def _alignments(columns: Sequence[Column]) -> Iterator[str]:
    """Of each column; names break into lines where the table would be wider than the page."""
    names = [column.width + GAP for column in columns if column.name in NAMES]
    room = LINE - sum(column.width + GAP for column in columns if column.name not in NAMES)
    for column in columns:
        if column.name in NAMES and sum(names) > room:
            share = room * (column.width + GAP) / sum(names) - GAP
            yield f">{{\\raggedright}}p{{{share / LINE:.3f}\\linewidth}}"
        else:
            yield "r" if column.is_number else "l"


def _letters_of_flags(view: TableView) -> tuple[list[str], list[str]]:
    """The letters that mark each row, and what each letter means."""
    rows = next(([str(value or "") for value in column.values] for column in view.shown if column.name == "flags"), [])
    known = dict.fromkeys(flag for row in rows for flag in row.split(", ") if flag)
    letters = dict(zip(known, ascii_lowercase, strict=False))
    marks = ["".join(sorted(letters[flag] for flag in row.split(", ") if flag in letters)) for row in rows]
    meanings = "; ".join(f"$^{{\\mathrm{{{letter}}}}}$ {escape(flag)}" for flag, letter in letters.items())
    return [f"$^{{\\mathrm{{{mark}}}}}$" if mark else "" for mark in marks], [f"{meanings}."] if meanings else []


def _marked_cells(column: Column, marks: Sequence[str]) -> list[str]:
    """The cells of a column, the best bold and the second best underlined, and a mark behind each."""
    found = []
    for row, (cell, whole, leading) in enumerate(zip(column.cells, column.shown(BETWEEN), column.leaders, strict=True)):
        text = LEADERS.get(leading, "%s").replace("%s", escape(cell)) if column.values[row] is not None else "--"
        text = text.replace("-", "$-$") if column.is_number and column.values[row] is not None else text
        rest = escape(whole.removeprefix(cell)).replace(escape(BETWEEN), r"\,$\pm$\,").replace("*", "$^{*}$")
        text = _of_one_width(cell) if column.of_one_width else text
        found.append(f"{text}{rest}{marks[row] if marks else ''}")
    return found


def _line(columns: Sequence[Column], cells: Sequence[str]) -> str:
    """A line of the heading."""
    texts = [
        _of_one_width(cell) if column.of_one_width else escape(cell)
        for column, cell in zip(columns, cells, strict=True)
    ]
    return " & ".join(texts) + r" \\"


def _of_one_width(text: str) -> str:
    return rf"\texttt{{{escape(text)}}}".replace(" ", r"\ ")


def escape(text: str) -> str:
    """Plain text for LaTeX; text between two backticks is set as code."""
    parts = [PATTERN.sub(lambda found: ESCAPED[found.group()], part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a lone backtick
        return r"\textasciigrave{}".join(parts)
    return "".join(rf"\texttt{{{part}}}" if number % 2 else part for number, part in enumerate(parts))
