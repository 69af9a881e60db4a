"""Every column of a table: names, seeds, scores, what statistics say of them, training and costs.

Statistics are kept to six significant digits, as further digits depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Literal

from ...stats.reliability import Reliability
from ..metric import Metric
from ..row import SHOWN, Row
from ..statistics import Decision, RowStatistics
from ..table import Table
from .communication_cost import communication_costs
from .view import Column, TableView, name_columns, without_empty


def table_view(table: Table) -> TableView:
    """The whole table, as every format shows it."""
    rows = table.rows
    hidden = [
        Column("seeds", tuple(len(row.seeds) for row in rows)),
        Column("missing seeds", tuple(len(row.missing) for row in rows)),
        *(Column(f"{part} code", tuple(row.code[part] for row in rows)) for part in ("method", "network")),
    ]
    return TableView(table.title, table.selection, columns(table), table.notes, table.caption, tuple(hidden))


def columns(table: Table) -> tuple[Column, ...]:
    """Every column that has a value in some row."""
    found = [*_identification(table), *_scores(table), *_statistics(table), *_site_tasks(table)]
    return without_empty([*found, *_training(table), *_costs(table)])


def _identification(table: Table) -> Iterator[Column]:
    """Which rows these are, and what became of their runs."""
    rows = table.rows
    if not table.not_ranked:
        ranks = tuple(row.rank and "-".join(map(str, dict.fromkeys(row.rank))) for row in rows)
        yield Column("rank", ranks)
    yield from name_columns([row.name for row in rows])
    if len({row.policy for row in rows}) > 1:
        yield Column("buffers", tuple(row.policy for row in rows), compact=False)
    seeds = tuple(f"{len(row.seeds)}/{len(table.seeds)}" for row in rows)
    yield Column("seeds", seeds, compact=any(row.missing for row in rows))
    diverged = tuple(row.diverged for row in rows)
    yield Column("diverged", diverged, compact=any(diverged))
    if any(below := tuple(row.below_floor for row in rows)):
        yield Column("below floor", below)


def _scores(table: Table) -> Iterator[Column]:
    """The metric that orders the table, with its interval and groups, and the other metrics."""
    rows, first = table.rows, table.metric
    for name in dict.fromkeys((first.column, *SHOWN)):
        metric = Metric.of(name)
        head = metric.heading
        yield mean_column(rows, metric, head, compact=name != "nmse" or metric == first)
        if metric == first:
            yield statistic_column(rows, f"{head} +-", lambda own: own.margin, metric.digits, heading=(head, "+-"))
            if any(row.statistics and row.statistics.letters for row in rows):
                letters = tuple((row.statistics.letters if row.statistics else "") or "-" for row in rows)
                yield Column("groups", letters)
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
    yield _gain_column(rows, "effect", lambda own: _finite(own.comparison.effect), 2, better=1)
    yield _gain_column(rows, "sites gaining", lambda own: own.comparison.sites_gaining, 2, better=1)
    yield statistic_column(rows, "gap closed", lambda own: own.closed, 2, compact=False)
    if len({site for row in rows if row.matrix for site in row.matrix.design.sites}) > 1:
        worst = tuple(row.statistics.reliability.worst_site if row.statistics else None for row in rows)
        yield Column("worst site", worst, compact=False)
        yield as_printed(served("worst site's", lambda own: own.worst_site_score))
        yield replace(served("sd over sites", lambda own: own.over_sites), better=-1)
    yield as_printed(served("worst 5 %", lambda own: own.worst_subjects))


def gain_columns(rows: Sequence[Row | None], metric: Metric) -> Iterator[Column]:
    """What rows gain over `local` on their network: the difference, half of its interval, and its family's p value."""
    digits = metric.digits
    lead = statistic_column(rows, "gain", lambda own: own.lead, digits, heading=("gain over", "local"))
    yield replace(lead, better=1)
    yield _gain_column(rows, "gain +-", lambda own: own.comparison.margin, digits, ("gain", "+-"))
    yield replace(_gain_column(rows, "gain p", lambda own: own.adjusted, 4, ("gain", "p")), never_0=True)


def _gain_column(
    rows: Sequence[Row | None],
    name: str,
    value: Callable[[Decision], float | None],
    digits: int,
    heading: tuple[str, str] = ("", ""),
    better: Literal[0, 1] = 0,
) -> Column:
    """A statistic of the gain over `local`; with a heading it is compact."""
    column = statistic_column(
        rows, name, lambda own: value(own.gain) if own.gain else None, digits, bool(heading[0]), heading
    )
    return replace(column, better=better)


def _site_tasks(table: Table) -> Iterator[Column]:
    """The mean score of every site-task."""
    first = table.metric
    for name in dict.fromkeys((first.column, "psnr", "ssim")):
        metric, scores = Metric.of(name), [row.scores.get(name) for row in table.rows]
        for site_task in next((score.site_tasks for score in scores if score), {}):
            values = tuple(score.site_tasks[site_task] if score else None for score in scores)
            label = f"{' '.join(site_task)} {metric.heading}"
            yield Column(label, values, metric.digits, metric == first, site_task, better=metric.sign)


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
