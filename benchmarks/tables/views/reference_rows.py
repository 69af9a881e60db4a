"""The reference lines of a table as rows between its rows: what needs no training, and the noise ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..metric import Metric
from ..reference_lines import LINES, ReferenceLine
from ..table import Table
from .view import TableView

FLAG = "reference"
LINE_NAMES = frozenset((name, "") for name in LINES)  # method and network of their rows

Cells = Mapping[str, str | float | None]  # the value of a line in each column that has one


def with_lines(view: TableView, table: Table) -> TableView:
    """The view of all rows of a table, with a row for each line that was recorded, before the first row whose score is worse."""
    lines = sorted((line for line in table.lines if line.scores), key=lambda line: _from_best(line, table.metric))
    order = list(range(len(table.rows)))
    for number, line in enumerate(lines, len(order)):
        order.insert(_place(table, order, line), number)
    return with_rows(view, {line.name: _cells(line) for line in lines}).take(order)


def with_rows(view: TableView, lines: Mapping[str, Cells]) -> TableView:
    """The view with a row for each of these lines at its end."""
    cells = [{"method": name, "network": "", "flags": FLAG, **own} for name, own in lines.items()]
    columns, hidden = (
        tuple(column.extended([own.get(column.name) for own in cells]) for column in columns)
        for columns in (view.columns, view.hidden)
    )
    return replace(view, columns=columns, hidden=hidden)


def with_means(view: TableView, columns: Mapping[str, Table]) -> TableView:
    """The view with a row for each line that has a mean in some of these columns: that of the line in the column's table."""
    found: dict[str, dict[str, float]] = {}
    for name, table in columns.items():
        for line in table.lines:
            if (mean := mean_of(line, table.metric)) is not None:
                found.setdefault(line.name, {})[name] = mean
    return with_rows(view, found)


def _from_best(line: ReferenceLine, metric: Metric) -> float:
    """Lower for a better line; a line without a mean comes last."""
    mean = mean_of(line, metric)
    return float("inf") if mean is None else -metric.sign * mean


def mean_of(line: ReferenceLine, metric: Metric) -> float | None:
    score = line.scores.get(metric.column)
    return score.mean if score else None


def _cells(line: ReferenceLine) -> Cells:
    """Its means, and those of each site-task."""
    found = {}
    for name, score in line.scores.items():
        head = Metric.of(name).heading
        found[head] = score.mean
        found |= {f"{' '.join(site_task)} {head}": mean for site_task, mean in score.site_tasks.items()}
    return found


def _place(table: Table, order: Sequence[int], line: ReferenceLine) -> int:
    """Where a line belongs in the order: before the first row that has a worse score, or no score."""
    metric, mean = table.metric, mean_of(line, table.metric)
    for place, number in enumerate(order):
        score = table.rows[number].scores.get(metric.column) if number < len(table.rows) else None
        if number < len(table.rows) and (
            score is None or (mean is not None and metric.sign * score.mean < metric.sign * mean)
        ):
            return place
    return len(order)
