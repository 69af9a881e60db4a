"""All that a table tells of its rows, as columns: names, seeds, scores, what they are worth, costs.

What statistics find is kept to six significant digits: more of them depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from statistics import fmean
from typing import Literal

from ..stats.multiple import Decision
from ..stats.reach import Reached, at_traffic, reach
from ..stats.reliability import Reliability
from ..stats.rising import rising
from ..stats.validation_curve import ValidationCurve
from .metric import Metric
from .row import Row
from .statistics import RowStatistics
from .table import Table, contenders
from .view import Column, TableView


def view(table: Table) -> TableView:
    """The whole table, as every format shows it."""
    rows = table.rows
    hidden = [
        Column("seeds", tuple(len(row.seeds) for row in rows)),
        Column("missing seeds", tuple(len(row.missing) for row in rows)),
        *(Column(f"{part} code", tuple(row.code[part] for row in rows)) for part in ("method", "network")),
    ]
    return TableView(table.title, table.selection, tuple(columns(table)), table.notes, table.caption, tuple(hidden))


def columns(table: Table) -> list[Column]:
    """Every column of the table; those with a value in no row are left out."""
    return filled([*names(table), *scores(table), *standing(table), *places(table), *course(table), *costs(table)])


def filled(found: Sequence[Column]) -> list[Column]:
    """The columns that have a value in some row."""
    return [column for column in found if any(value is not None for value in column.values)]


def names(table: Table) -> Iterator[Column]:
    """Which rows these are, and what became of their runs."""
    rows = table.rows
    if not table.smoke:
        yield Column("rank", tuple(row.rank for row in rows))
    yield Column("method", tuple(row.method for row in rows))
    yield Column("network", tuple(row.network for row in rows), compact=len({row.network for row in rows}) > 1)
    if len({row.policy for row in rows}) > 1:
        yield Column("buffers", tuple(row.policy for row in rows), compact=False)
    seeds = tuple(f"{len(row.seeds)}/{len(table.seeds)}" for row in rows)
    yield Column("seeds", seeds, compact=any(row.missing for row in rows))
    diverged = tuple(row.diverged for row in rows)
    yield Column("diverged", diverged, compact=any(diverged))


def scores(table: Table) -> Iterator[Column]:
    """The metric that orders the table, with its interval and groups, and the others."""
    rows, first = table.rows, table.metric
    for name in dict.fromkeys((first.column, "psnr", "ssim", "nmse")):
        metric = Metric.of(name)
        head, own = metric.heading, [row.scores.get(name) for row in rows]
        means = tuple(score.mean if score else None for score in own)
        yield Column(head, means, metric.digits, name != "nmse" or metric == first, better=metric.sign)
        if metric == first:
            yield of(rows, f"{head} +-", lambda found: found.margin, metric.digits, heading=(head, "+-"))
            if any(row.statistics and row.statistics.letters for row in rows):
                letters = tuple((row.statistics.letters if row.statistics else "") or "-" for row in rows)
                yield Column("groups", letters)
        if len(table.seeds) > 1:
            yield Column(
                f"{head} sd", tuple(score.sd if score else None for score in own), metric.digits, compact=False
            )


def standing(table: Table) -> Iterator[Column]:
    """What is gained over training alone, and who is served worst."""
    rows, metric = table.rows, table.metric

    def told(name: str, value: Callable[[Reliability], float | None], turned: bool) -> Column:
        sign = metric.sign if turned else 1
        column = of(rows, name, lambda found: times(value(found.reliability), sign), metric.digits, compact=False)
        return replace(column, better=metric.sign if turned else -1)

    yield from gain(rows, metric)
    yield gained(rows, "effect", lambda found: finite(found.comparison.effect), 2, better=1)
    yield gained(rows, "sites gaining", lambda found: found.comparison.sites_gaining, 2, better=1)
    yield of(rows, "gap closed", lambda found: found.closed, 2, compact=False)
    worst = tuple(row.statistics.reliability.worst_site if row.statistics else None for row in rows)
    if len({site for row in rows if row.matrix for site in row.matrix.design.sites}) > 1:
        yield Column("worst site", worst, compact=False)
        yield told("worst site's", lambda found: found.worst_site_score, turned=True)
        yield told("sd over sites", lambda found: found.over_sites, turned=False)
    yield told("worst 5 %", lambda found: found.worst_subjects, turned=True)


def gain(rows: Sequence[Row | None], metric: Metric) -> Iterator[Column]:
    """What rows gain over `local` on their network: the difference, half of its interval, Holm's p value."""
    digits = metric.digits
    yield replace(of(rows, "gain", lambda found: found.lead, digits, heading=("gain over", "local")), better=1)
    yield gained(rows, "gain +-", lambda found: found.comparison.margin, digits, ("gain", "+-"))
    yield replace(gained(rows, "gain p", lambda found: found.adjusted, 4, ("gain", "p")), never_0=True)


def gained(
    rows: Sequence[Row | None],
    name: str,
    value: Callable[[Decision], float | None],
    digits: int,
    heading: tuple[str, str] = ("", ""),
    better: Literal[0, 1] = 0,
) -> Column:
    """A column of the gain over `local`; with a heading it is on the terminal too."""
    column = of(rows, name, lambda found: value(found.gain) if found.gain else None, digits, bool(heading[0]), heading)
    return replace(column, better=better)


def places(table: Table) -> Iterator[Column]:
    """Every site-task."""
    first = table.metric
    for name in dict.fromkeys((first.column, "psnr", "ssim")):
        metric, own = Metric.of(name), [row.scores.get(name) for row in table.rows]
        for place in next((score.site_tasks for score in own if score), {}):
            values = tuple(score.site_tasks[place] if score else None for score in own)
            label = f"{' '.join(place)} {metric.heading}"
            yield Column(label, values, metric.digits, metric == first, place, better=metric.sign)


def course(table: Table) -> Iterator[Column]:
    """How training went: whether it was cut short, and when it reached what training alone does."""
    rows = table.rows
    yield Column("rising", tuple(six(mean([rising(curve) for curve in row.curves])) for row in rows), 2, False)
    found = communication_costs(table)
    yield Column("rounds to local", tuple(six(own.rounds) for own in found), 1, False, better=-1)
    yield Column("MB to local", tuple(six(own.megabytes) for own in found), 1, False, better=-1)
    yield Column("PSNR at equal MB", tuple(six(own.psnr) for own in found), 2, False, better=1)


def costs(table: Table) -> Iterator[Column]:
    """What the rows cost."""
    rows = table.rows
    rounds = table.rows[0].runs[0].record.identity["trainer"]["rounds"]
    for name, digits, values in (
        ("MB up", 3, [row.bytes_up / 1e6 for row in rows]),
        ("MB down", 3, [row.bytes_down / 1e6 for row in rows]),
        ("parameters (M)", 3, [row.cost("parameters") / 1e6 for row in rows]),
        ("travelling (M)", 3, [row.cost("parameters_travelling") / 1e6 for row in rows]),
        ("gradient evaluations (k)", 1, [row.cost("gradient_evaluations") / 1e3 for row in rows]),
        ("seconds a round", 2, [row.cost("seconds") / rounds for row in rows]),
        ("peak memory (MB)", 0, [row.cost("peak_memory_bytes") / 1e6 for row in rows]),
    ):
        yield Column(name, tuple(values), digits, compact=False, better=-1)


def of(
    rows: Sequence[Row | None],
    name: str,
    value: Callable[[RowStatistics], float | None],
    digits: int,
    compact: bool = True,
    heading: tuple[str, str] = ("", ""),
) -> Column:
    """A column of what statistics find."""
    found = tuple(six(value(row.statistics)) if row and row.statistics else None for row in rows)
    return Column(name, found, digits, compact, heading)


def six(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def times(value: float | None, sign: int) -> float | None:
    return None if value is None else sign * value


def finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


@dataclass(frozen=True)
class CommunicationCost:
    """Means over seeds; None where a seed has none."""

    rounds: float | None  # until the score of `local` on the same network, at its selected round
    megabytes: float | None  # of all sites, up and down, until then
    psnr: float | None  # dB, the best for the bytes of that row which sends least, of those that send anything


def communication_costs(table: Table) -> list[CommunicationCost]:
    """Of every row, in the table's order."""
    budgets = [fmean(own) for row in table.rows if (own := [float(curve.traffic[-1]) for curve in row.curves])]
    budget = min((total for total in budgets if total > 0), default=0.0)
    found = []
    for row, held in zip(table.rows, contenders(table.rows), strict=True):
        reached = [] if held.local is None else arrivals(row.curves, table.rows[held.local])
        found.append(
            CommunicationCost(
                rounds=mean([own.round for own in reached]),
                megabytes=mean([own.traffic / 1e6 for own in reached]),
                psnr=mean([at_traffic(curve, budget) for curve in row.curves]) if budget else None,
            )
        )
    return found


def arrivals(curves: Sequence[ValidationCurve], local: Row) -> list[Reached]:
    """When each seed reaches the validation score of `local`, mean over its seeds."""
    goal = fmean(run.record.validation_psnr for run in local.runs)
    return [reach(curve, goal) for curve in curves]


def mean(values: Sequence[float | None]) -> float | None:
    """None where a value is missing, or there is none."""
    known = [value for value in values if value is not None and not isnan(value)]
    return fmean(known) if values and len(known) == len(values) else None
