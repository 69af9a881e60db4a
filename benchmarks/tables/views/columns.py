"""Every column of a table: names, seeds, scores, what statistics say of them, training and costs.

Statistics are kept to six significant digits, as further digits depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Literal

from ...stats.reliability import Reliability
from ..headline import ASIDE
from ..metric import Metric
from ..row import SHOWN, Row
from ..statistics import Decision, RowStatistics
from ..table import Table
from .communication_cost import communication_costs
from .reference_rows import with_lines
from .view import Column, TableView, name_columns, without_empty

OVER_FEDAVG = "over fedavg"


def table_view(table: Table) -> TableView:
    """The whole table, with its reference lines between the rows."""
    rows = table.rows
    hidden = [
        Column("seeds", tuple(len(row.seeds) for row in rows)),
        Column("missing seeds", tuple(len(row.missing) for row in rows)),
        *(Column(f"{part} code", tuple(row.code[part] for row in rows)) for part in ("method", "network")),
    ]
    view = TableView(
        table.title,
        table.selection,
        columns(table),
        table.notes,
        table.caption,
        tuple(hidden),
        table.headline,
        table.facts,
    )
    return with_lines(view, table)


def site_task_view(table: Table) -> TableView | None:
    """The scores of every site-task by the metric that orders the table; None where there is one site-task.

    It is a table of its own, so that the first one fits a page. The CSV has these columns in the first.
    """
    found = [replace(column, compact=True) for column in _site_tasks(table, [table.metric.column])]
    if len(found) < 2:
        return None
    shown = without_empty([*name_columns([row.name for row in table.rows]), *found])
    title = f"{table.title}: {table.metric.heading} by site and task"
    return with_lines(TableView(title, table.selection, tuple(with_rivals(table.rows, shown)), in_csv=False), table)


def columns(table: Table) -> tuple[Column, ...]:
    """Every column that has a value in some row."""
    found = [
        *_identification(table),
        *_scores(table),
        *_statistics(table),
        *_site_tasks(table, [table.metric.column, "psnr", "ssim"]),
    ]
    found += [*_training(table), *_costs(table), *_flags(table)]
    return tuple(with_rivals(table.rows, without_empty(found)))


def with_rivals(rows: Sequence[Row | None], columns: Iterable[Column]) -> Iterator[Column]:
    """Columns of which neither `pooled` nor a row below the look-up table may be the best."""
    rivals = tuple(
        row is not None and row.identity["method"]["name"] not in ASIDE and not row.below_lookup for row in rows
    )
    for column in columns:
        yield replace(column, rivals=rivals)


def _identification(table: Table) -> Iterator[Column]:
    """Which rows these are, and what became of their runs."""
    rows = table.rows
    if not table.not_ranked:
        yield Column("rank", tuple(row.rank and "-".join(map(str, dict.fromkeys(row.rank))) for row in rows))
    yield from name_columns([row.name for row in rows])
    if len({row.policy for row in rows}) > 1:
        yield Column("buffers", tuple(row.policy for row in rows), compact=False)
    yield Column("seeds", tuple(f"{len(row.seeds)}/{len(table.seeds)}" for row in rows), compact=False)
    yield Column("diverged", tuple(row.diverged for row in rows), compact=False)
    if any(below := tuple(row.below_floor for row in rows)):
        yield Column("below floor", below, compact=False)


def _scores(table: Table) -> Iterator[Column]:
    """The metric that orders the table, with its interval and groups, and the other metrics."""
    rows, first = table.rows, table.metric
    for name in dict.fromkeys((first.column, *SHOWN)):
        metric = Metric.of(name)
        head = metric.heading
        own = mean_column(rows, metric, head, compact=name in (first.column, "psnr", "ssim"))
        if metric == first:
            margins = statistic_column(rows, f"{head} +-", lambda own: own.margin, metric.digits, compact=False)
            yield own.with_margins(margins)
            yield margins
            letters = tuple((row.statistics.letters if row.statistics else "") or None for row in rows)
            yield Column("groups", letters)
        else:
            yield own
        if len(table.seeds) > 1:
            spreads = tuple(score.sd if (score := row.scores.get(name)) else None for row in rows)
            yield Column(f"{head} sd", spreads, metric.digits, compact=False)


def mean_column(
    rows: Sequence[Row | None], metric: Metric, name: str, heading: tuple[str, str] = ("", ""), compact: bool = True
) -> Column:
    """The mean score of each row."""
    scores = [row.scores.get(metric.column) if row else None for row in rows]
    means = tuple(score.mean if score else None for score in scores)
    return Column(name, means, metric.digits, compact, heading, metric.sign)


def _statistics(table: Table) -> Iterator[Column]:
    """What a row gains over training alone, and whom it serves worst."""
    rows, metric = table.rows, table.metric

    def served(name: str, value: Callable[[Reliability], float | None]) -> Column:
        return statistic_column(rows, name, lambda own: value(own.reliability), metric.digits, compact=False)

    def as_printed(column: Column) -> Column:
        """Scores with the metric's own sign; statistics take higher as better."""
        values = tuple(metric.sign * value if isinstance(value, float) else None for value in column.values)
        return replace(column, values=values, better=metric.sign)

    yield from gain_columns(rows, metric)
    yield from _over_fedavg(rows, metric)
    yield _gain_column(rows, "effect", lambda own: _finite(own.comparison.effect), 2, better=1)
    yield _gain_column(rows, "sites gaining", lambda own: own.comparison.sites_gaining, 2, better=1)
    yield statistic_column(rows, "gap closed", lambda own: own.closed, 2, compact=False)
    if len({site for row in rows if row.matrix for site in row.matrix.design.sites}) > 1:
        worst = tuple(row.statistics.reliability.worst_site if row.statistics else None for row in rows)
        yield Column("worst site", worst, compact=False)
        score = as_printed(served("worst site's", lambda own: own.worst_site_score))
        yield replace(
            score, compact=True, heading=("worst", "site"), marks=tuple((site and f" {site}") or "" for site in worst)
        )
        yield replace(served("sd over sites", lambda own: own.over_sites), better=-1)
    yield as_printed(served("worst 5 %", lambda own: own.worst_subjects))


def gain_columns(rows: Sequence[Row | None], metric: Metric) -> Iterator[Column]:
    """What rows gain over `local` on their network: the difference, half of its interval, and the p value of its family."""
    lead = statistic_column(rows, "gain", lambda own: own.lead, metric.digits)
    yield from _decided(lead, [row.statistics.gain if row and row.statistics else None for row in rows], rows)


def _over_fedavg(rows: Sequence[Row], metric: Metric) -> Iterator[Column]:
    """Likewise over `fedavg`; nothing where there is one seed, or no `fedavg`."""
    decisions = [row.statistics.over_fedavg if row.statistics else None for row in rows]
    differences = tuple(six_digits(own.comparison.difference) if own else None for own in decisions)
    yield from _decided(Column(OVER_FEDAVG, differences, metric.digits, compact=False), decisions, rows)


def _decided(difference: Column, decisions: Sequence[Decision | None], rows: Sequence[Row | None]) -> Iterator[Column]:
    """Differences with their intervals, and their p values. One that is not 0 is marked, but not that of a row below the look-up
    table, or with a diverged seed."""
    name, digits = difference.name, difference.decimals
    intervals = tuple(six_digits(own.comparison.margin) if own else None for own in decisions)
    margins = Column(f"{name} +-", intervals, digits, compact=False)
    marks = tuple(
        "*" if row and row.claims and own and own.significant else "" for row, own in zip(rows, decisions, strict=True)
    )
    yield replace(difference.with_margins(margins), better=1, marks=marks)
    yield margins
    p_values = tuple(six_digits(own.adjusted) if own else None for own in decisions)
    yield Column(f"{name} p", p_values, 4, compact=False, never_0=True)


def _gain_column(
    rows: Sequence[Row | None],
    name: str,
    value: Callable[[Decision], float | None],
    digits: int,
    better: Literal[0, 1] = 0,
) -> Column:
    """A statistic of the gain over `local`."""
    column = statistic_column(rows, name, lambda own: value(own.gain) if own.gain else None, digits, compact=False)
    return replace(column, better=better)


def _site_tasks(table: Table, metrics: Sequence[str]) -> Iterator[Column]:
    """The mean score of every site-task by each metric."""
    for name in dict.fromkeys(metrics):
        metric, scores = Metric.of(name), [row.scores.get(name) for row in table.rows]
        for site_task in next((score.site_tasks for score in scores if score), {}):
            values = tuple(score.site_tasks[site_task] if score else None for score in scores)
            label = f"{' '.join(site_task)} {metric.heading}"
            yield Column(label, values, metric.digits, False, site_task, better=metric.sign)


def _flags(table: Table) -> Iterator[Column]:
    """What must be read with a row's numbers."""
    none = "" if any(line.scores for line in table.lines) else None  # a line between the rows has a flag too
    yield Column("flags", tuple(", ".join(row.flags) or none for row in table.rows))


def _training(table: Table) -> Iterator[Column]:
    """How training went: whether it was cut short, and when it reached what training alone does."""
    slopes = [fmean(row.rising) if row.rising else None for row in table.rows]
    yield Column("rising", tuple(map(six_digits, slopes)), 2, False)
    costs = communication_costs(table)
    yield Column("rounds to local", tuple(six_digits(own.rounds) for own in costs), 1, False, better=-1)
    yield Column("MB to local", tuple(six_digits(own.megabytes) for own in costs), 1, False, better=-1)
    yield Column("PSNR at equal MB", tuple(six_digits(own.psnr) for own in costs), 2, False, better=1)


def _costs(table: Table) -> Iterator[Column]:
    """What the rows cost."""
    rows = table.rows
    sent = tuple((row.cost("bytes_up") + row.cost("bytes_down")) / 1e6 for row in rows)
    yield Column("MB", sent, 1, better=-1)
    for name, digits, values in (
        ("MB up", 3, [row.bytes_up / 1e6 for row in rows]),
        ("MB down", 3, [row.bytes_down / 1e6 for row in rows]),
        ("parameters (M)", 3, [row.cost("parameters") / 1e6 for row in rows]),
        ("travelling (M)", 3, [row.cost("parameters_travelling") / 1e6 for row in rows]),
        ("gradient evaluations (k)", 1, [row.cost("gradient_evaluations") / 1e3 for row in rows]),
        ("seconds a round", 2, [row.seconds_a_round for row in rows]),
        ("peak memory (MB)", 0, [row.cost("peak_memory_bytes") / 1e6 for row in rows]),
    ):
        yield Column(name, tuple(values), digits, compact=False, better=-1)


def statistic_column(
    rows: Sequence[Row | None],
    name: str,
    value: Callable[[RowStatistics], float | None],
    digits: int,
    compact: bool = True,
    heading: tuple[str, str] = ("", ""),
) -> Column:
    """A number of each row's statistics."""
    values = tuple(six_digits(value(row.statistics)) if row and row.statistics else None for row in rows)
    return Column(name, values, digits, compact, heading)


def six_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
