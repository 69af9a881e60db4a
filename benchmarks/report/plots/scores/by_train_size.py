"""Scores, and the gain over training alone, by the number of training subjects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ....tables.row import Row
from ....tables.table import Table
from ..labels import with_unit
from ..legend import legend_below, row_handles
from ..plotted_row import plotted_rows
from ..reference_lines import DASHES, GREY, REACH, line_handles, line_scores
from ..style import HEIGHT, WIDTHS, line_styles, open_axes, style

SPREAD = 0.6  # of the way from one number of subjects to the next, over which the intervals of all rows are spread

Value = tuple[float, float | None]  # a score or gain, and half of its 95 % interval


def draw_by_train_size(tables: Sequence[tuple[float, Table]], columns: int) -> Figure:
    """The mean score of every row that is in all tables, and its gain over `local`, with 95 % intervals: side by side two
    columns wide, one above the other one column wide.

    `tables` are pairs of a number of training subjects and the table with that many, fewest first; 0 is a newcomer before
    adaptation. The numbers are drawn at equal steps, the rows beside each other in the order of the last table.
    """
    last = tables[-1][1]
    by_label = [
        {plotted.label: row for plotted, row in zip(plotted_rows(table), table.rows, strict=True)}
        for _, table in tables
    ]
    shown = [row for row in plotted_rows(last) if all(row.label in own for own in by_label)]
    lines = [line_scores(table) for _, table in tables]
    with style():
        figure = Figure(figsize=(WIDTHS[columns], HEIGHT * (3 - columns)), layout="constrained")
        scores, gains = figure.subplots(3 - columns, columns, squeeze=False).flat
        gains.axhline(0, color="black", linewidth=0.8)
        for number, (plotted, look) in enumerate(zip(shown, line_styles(shown), strict=True)):
            aside = SPREAD * (number / max(len(shown) - 1, 1) - 0.5)
            rows = [own[plotted.label] for own in by_label]
            for panel, values in ((scores, _scores(rows, last)), (gains, _gains(rows))):
                known = [(place + aside, *value) for place, value in enumerate(values) if value]
                if known:
                    x, y, margins = zip(*known, strict=True)
                    bars = None if None in margins else margins
                    panel.errorbar(x, y, bars, linewidth=0.9, markersize=3, elinewidth=0.8, **look)
        drawn = _draw_lines(scores, lines)
        scores.set(ylabel=with_unit(f"test {last.metric.heading}", last.metric))
        gains.set(ylabel=with_unit("gain over training alone", last.metric))
        for panel in (scores, gains):
            _name_sizes(panel, [count for count, _ in tables])
        legend_below(figure, [*row_handles(shown), *line_handles(lines[-1], drawn)])
    return figure


def _name_sizes(panel: Axes, counts: Sequence[float]) -> None:
    """Ticks at the numbers of subjects for which the panel has a row."""
    places = sorted({round(x) for line in panel.containers for x in line[0].get_xdata()})
    panel.xaxis.set_major_locator(FixedLocator(places))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticklabels([f"{counts[place]:g}" if counts[place] else "none" for place in places])
    panel.set(xlim=(min(places, default=0) - 0.5, max(places, default=0) + 0.5), xlabel="training subjects of a site")
    open_axes(panel)


def _scores(rows: Sequence[Row], table: Table) -> Iterator[Value | None]:
    """The score of a row in each table."""
    for row in rows:
        score = row.scores.get(table.metric.column)
        yield (score.mean, row.statistics.margin if row.statistics else None) if score else None


def _gains(rows: Sequence[Row]) -> Iterator[Value | None]:
    """The gain of a row in each table."""
    for row in rows:
        gain = row.statistics.gain if row.statistics else None
        yield (gain.comparison.difference, gain.comparison.margin) if gain else None


def _draw_lines(panel: Axes, scores: Sequence[dict[str, float]]) -> set[str]:
    """Reference lines, which have a score for every number of subjects where it is recorded. The names of those drawn."""
    low, high = panel.get_ylim()
    drawn = set[str]()
    for name in dict.fromkeys(name for own in scores for name in own):
        known = {place: own[name] for place, own in enumerate(scores) if name in own}
        if all(max(low - score, score - high) <= REACH[name] * (high - low) for score in known.values()):
            drawn.add(name)
            for place, score in known.items():
                ends = [place - 0.5, place + 0.5]
                panel.plot(ends, [score] * 2, color=GREY, linewidth=0.8, dashes=DASHES[name], zorder=0.5)
    return drawn
