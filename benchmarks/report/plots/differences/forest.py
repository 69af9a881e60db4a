"""The forest plot: what each row gains over `local` and over `fedavg` on the same network, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ....tables.statistics import Decision
from ....tables.table import Table
from ..labels import with_unit
from ..named_rows import panels_with_named_rows
from ..plotted_row import plotted_rows
from ..style import line_styles, style

MARKS = {True: "shown to differ", False: "not shown to differ", None: "nothing is claimed"}


def draw_forest(table: Table, columns: int) -> Figure | None:
    """The rows that have a gain, in the table's order; None where there is none, as with a single seed.

    A thick line is the 95 % interval of a gain by itself, a thin one holds together with those of all gains of the table. Nothing
    is claimed of a gain that is exploratory, and of a row below the look-up table or with a diverged seed.
    """
    statistics = [row.statistics for row in table.rows]
    over = {
        "local": [own.gain if own else None for own in statistics],
        "fedavg": [own.over_fedavg if own else None for own in statistics],
    }
    shown = {name: gains for name, gains in over.items() if any(gains)}
    kept = [place for place in range(len(table.rows)) if any(gains[place] for gains in shown.values())]
    if not kept:
        return None
    plotted, metric = plotted_rows(table), table.metric
    looks = list(line_styles(plotted))

    def claimed(row: int, gain: Decision) -> bool | None:
        return gain.significant if table.rows[row].claims else None

    with style():
        figure, panels = panels_with_named_rows(
            [plotted[row].title for row in kept],
            columns,
            [with_unit(f"{metric.heading} over {name}", metric) for name in shown],
        )
        for panel, gains in zip(panels, shown.values(), strict=True):
            panel.axvline(0, color="black", linewidth=0.8)
            for place, row in enumerate(kept):
                if gain := gains[row]:
                    colour, found = looks[row]["color"], gain.comparison
                    panel.plot([found.low, found.high], [place] * 2, color=colour, linewidth=2.2, solid_capstyle="butt")
                    if gain.low is not None and gain.high is not None:
                        panel.plot([gain.low, gain.high], [place] * 2, color=colour, linewidth=0.7)
                    panel.plot(found.difference, place, color=colour, linestyle="", **_marker(claimed(row, gain)))
        marks = dict.fromkeys(claimed(row, gain) for gains in shown.values() for row, gain in enumerate(gains) if gain)
        _explain(
            figure,
            list(marks),
            any(gain and gain.low is not None for gains in shown.values() for gain in gains),
        )
    return figure


def _marker(significant: bool | None) -> dict[str, Any]:
    """Filled where a difference is significant, hollow where it is not, a stroke where nothing is claimed."""
    if significant is None:
        return {"marker": "|", "markersize": 6, "markeredgewidth": 1.2}
    return {"marker": "o", "markersize": 5} | ({} if significant else {"markerfacecolor": "white"})


def _explain(figure: Figure, marks: Sequence[bool | None], joint: bool) -> None:
    """What markers and lines mean, below the panels."""
    order = [mark for mark in MARKS if mark in marks]
    handles = [Line2D([], [], color="0.35", linestyle="", label=MARKS[mark], **_marker(mark)) for mark in order]
    handles.append(Line2D([], [], color="0.35", linewidth=2.2, label="95 % interval"))
    if joint:
        handles.append(Line2D([], [], color="0.35", linewidth=0.7, label="of all gains together"))
    abreast = 5 if figure.get_figwidth() > 5 else 2
    figure.legend(handles=handles, loc="outside lower center", ncols=abreast, frameon=False, handletextpad=0.5)
