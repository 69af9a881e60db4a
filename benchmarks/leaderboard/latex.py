"""Tables for papers: LaTeX that needs the packages booktabs and graphicx, the best of a column bold, the second underlined.

Of the columns those of the terminal are taken. Groups stand as superscripts of the score that they belong to, and a gain that is
significant in its table (Holm at 5 %) has a star.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..stats.multiple import LEVEL
from ..tables.view import Column, TableView

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
MARK = {1: r"\textbf{%s}", 2: r"\underline{%s}"}


def latex(found: Sequence[TableView]) -> str:
    """Every table as a `table*`, wide ones made to fit the page."""
    head = ["% Made by `fedsynth leaderboard`. \\usepackage{booktabs,graphicx}"]
    return (
        "\n\n".join(["\n".join(head), *("\n".join(lines(panel, number)) for number, panel in enumerate(found, 1))])
        + "\n"
    )


def lines(panel: TableView, number: int) -> Iterator[str]:
    """A table's lines."""
    named = {column.name: column for column in panel.columns if column.compact}
    groups = named.pop("groups", None)
    tests = {name.removesuffix(" p"): named.pop(name) for name in list(named) if name.endswith("gain p")}
    margins = {name: named.pop(f"{name} +-") for name in list(named) if f"{name} +-" in named}
    shown = list(named.values())
    cells = [
        marked(
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
    yield rf"\caption{{{escape(f'{panel.title}.')}{legend(groups, bool(tests))}}}"
    yield rf"\label{{tab:fedsynth{number}}}"
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{{spec}}}"
    yield r"\toprule"
    if any(column.heading[0] for column in shown):
        yield row(column.heading[0] for column in shown)
    yield row((column.heading[1] or column.name) if any(column.heading) else column.name for column in shown)
    yield r"\midrule"
    for line in zip(*cells, strict=True):
        yield " & ".join(line) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield ""
    yield r"\smallskip\raggedright\footnotesize"
    yield from map(escape, (*panel.notes, *panel.caption))
    yield r"\end{table*}"


def marked(column: Column, margin: Column | None, groups: Column | None, p: Column | None) -> list[str]:
    """The cells of a column, with half of their intervals and their marks."""
    found = []
    for place, (cell, leading) in enumerate(zip(column.cells(), column.places(), strict=True)):
        text = MARK.get(leading, "%s").replace("%s", escape(cell)) if column.values[place] is not None else "--"
        if margin and margin.values[place] is not None:
            text += rf"\,$\pm$\,{margin.cells()[place]}"
        if groups and groups.values[place] not in (None, "-"):
            text += rf"$^{{\mathrm{{{groups.values[place]}}}}}$"
        if p and isinstance(value := p.values[place], float) and value < LEVEL:
            text += "$^{*}$"
        found.append(text)
    return found


def legend(groups: Column | None, tested: bool) -> str:
    """What the marks mean."""
    text = " Best bold, second underlined."
    if groups:
        text += " Rows that share a superscript letter do not differ (all pairs, Holm at 5~\\%)."
    return text + (r" $^{*}$: gain significant (Holm at 5~\%)." if tested else "")


def row(cells: Iterator[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"


def escape(text: str) -> str:
    """Plain text as LaTeX shows it; what stands between two backticks is code."""
    parts = [PATTERN.sub(lambda found: ESCAPED[found.group()], part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a lone backtick
        return r"\textasciigrave{}".join(parts)
    return "".join(rf"\texttt{{{part}}}" if place % 2 else part for place, part in enumerate(parts))
