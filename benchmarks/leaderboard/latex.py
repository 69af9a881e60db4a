"""Tables for papers: LaTeX that needs the packages booktabs and graphicx, the best value of a column bold, the second underlined.

It has the columns of the terminal. Groups stand as superscripts of the score that they belong to, and a gain that is significant
in its table (family-wise error 5 %) has a star.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..stats.multiple.reference import LEVEL
from ..tables.views.view import Column, TableView

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
LEADERS = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def to_latex(views: Sequence[TableView]) -> str:
    """A `table*` for each table; a wide one is made to fit the page."""
    head = "% Made by `fedsynth leaderboard`. \\usepackage{booktabs,graphicx}"
    return "\n\n".join([head, *("\n".join(_table(view, number)) for number, view in enumerate(views, 1))]) + "\n"


def _table(view: TableView, number: int) -> Iterator[str]:
    named = {column.name: column for column in view.columns if column.compact}
    groups = named.pop("groups", None)
    tests = {name.removesuffix(" p"): named.pop(name) for name in list(named) if name.endswith("gain p")}
    margins = {name: named.pop(f"{name} +-") for name in list(named) if f"{name} +-" in named}
    shown = list(named.values())
    cells = [
        _marked_cells(
            column,
            margins.get(column.name),
            groups if column.name in margins and not column.name.endswith("gain") else None,
            tests.get(column.name),
        )
        for column in shown
    ]
    spec = "".join("r" if column.is_number else "l" for column in shown)
    yield r"\begin{table*}"
    yield r"\centering"
    yield rf"\caption{{{escape(f'{view.title}.')}{_meaning_of_marks(groups, bool(tests))}}}"
    yield rf"\label{{tab:fedsynth{number}}}"
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{{spec}}}"
    yield r"\toprule"
    if any(column.heading[0] for column in shown):
        yield _line(column.heading[0] for column in shown)
    yield _line((column.heading[1] or column.name) if any(column.heading) else column.name for column in shown)
    yield r"\midrule"
    for row in zip(*cells, strict=True):
        yield " & ".join(row) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield ""
    yield r"\smallskip\raggedright\footnotesize"
    yield from map(escape, (*view.notes, *view.caption))
    yield r"\end{table*}"


def _marked_cells(column: Column, margin: Column | None, groups: Column | None, p: Column | None) -> list[str]:
    """The cells of a column, with half of their intervals and their marks."""
    found = []
    for row, (cell, leading) in enumerate(zip(column.cells, column.leaders, strict=True)):
        text = LEADERS.get(leading, "%s").replace("%s", escape(cell)) if column.values[row] is not None else "--"
        if margin and margin.values[row] is not None:
            text += rf"\,$\pm$\,{margin.cells[row]}"
        if groups and groups.values[row] not in (None, "-"):
            text += rf"$^{{\mathrm{{{groups.values[row]}}}}}$"
        if p and isinstance(value := p.values[row], float) and value < LEVEL:
            text += "$^{*}$"
        found.append(text)
    return found


def _meaning_of_marks(groups: Column | None, tested: bool) -> str:
    text = " The best value is bold, the second best underlined."
    if groups:
        text += r" Rows that share a superscript letter are not shown to differ (all pairs, family-wise error 5~\%)."
    return text + (r" A star ($^{*}$) marks a significant gain (family-wise error 5~\%)." if tested else "")


def _line(cells: Iterator[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def escape(text: str) -> str:
    """Plain text for LaTeX; text between two backticks is set as code."""
    parts = [PATTERN.sub(lambda found: ESCAPED[found.group()], part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a lone backtick
        return r"\textasciigrave{}".join(parts)
    return "".join(rf"\texttt{{{part}}}" if number % 2 else part for number, part in enumerate(parts))
