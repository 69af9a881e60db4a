"""The rows that all tables share, over scenarios and data sets: mean ranks where these are independent blocks, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..stats.bayes import signed_rank
from ..stats.multiple import LEVEL, groups
from ..stats.profiles import profiles
from ..stats.ranks import Ranks
from ..stats.scores import Floats, StatsError
from ..tables.columns import six
from ..tables.metric import Metric
from ..tables.ranking import Name, Shared, ranking
from ..tables.table import Table
from ..tables.view import Column, TableView


def overview(tables: Sequence[Table]) -> list[TableView]:
    """One panel of the rows that are whole in every table; none for a single table, or no row in common."""
    shared = Shared.of(tables)
    if len(shared.tables) < 2 or not shared.names:
        return []
    metric, names = shared.tables[0].metric, shared.names
    shown = [
        Column("method", tuple(method for method, _ in names)),
        Column("network", tuple(network for _, network in names), compact=len({network for _, network in names}) > 1),
    ]
    found, reason = None, ""
    try:
        found = ranking(tables).ranks
        shown += ranked_columns(found)
    except StatsError as error:
        reason = str(error)
    means = tuple(six(float(value)) for value in metric.sign * shared.scores.mean(0))
    shown.append(Column(f"mean {metric.heading}", means, metric.digits, better=metric.sign))
    if metric.bound is not None:
        near = profiles(cells(shared), np.array([0.0, metric.bound]))
        shown.append(Column("best at", tuple(six(float(value)) for value in near[:, 0]), 2, better=1))
        shown.append(Column("near best at", tuple(six(float(value)) for value in near[:, 1]), 2, better=1))
        if found:
            shown += bayesian(names, shared.scores, metric.bound)
    told = "; ".join(table.title for table in shared.tables)
    return [
        TableView(
            "Across scenarios",
            shared.tables[0].selection,
            tuple(shown),
            (f"No mean ranks: {reason}.",) if reason else (),
            (
                f"Of the rows that are whole in every one of {len(shared.tables)} tables: {told}.",
                *explained(metric, found),
            ),
        )
    ]


def ranked_columns(found: Ranks) -> Iterator[Column]:
    """Mean ranks with their intervals, and letters if Friedman's test finds a difference at all."""
    yield Column("mean rank", tuple(six(float(value)) for value in found.mean), 2, better=-1)
    yield Column("rank low", tuple(six(float(value)) for value in found.low), 2)
    yield Column("rank high", tuple(six(float(value)) for value in found.high), 2)
    if found.p < LEVEL:
        yield Column("groups", tuple(groups(found.pairs)))


def cells(shared: Shared) -> Floats:
    """[site-tasks of all tables, rows], higher is better."""
    found = []
    for rows in shared.rows:
        matrices = [rows[name].matrix for name in shared.names]
        found += list(
            np.array([own.design.site_task_means(own.values).mean(0) for own in matrices if own is not None]).T
        )
    return np.array(found)


def bayesian(names: Sequence[Name], scores: Floats, bound: float) -> Iterator[Column]:
    """How probable it is that a row is better than `local` on its network by more than the bound, on a further block."""
    places = {name: place for place, name in enumerate(names)}
    locals_ = [places.get(("local", network)) for _, network in names]
    found = [
        None if local is None or local == place else signed_rank(scores[:, place] - scores[:, local], bound)
        for place, local in enumerate(locals_)
    ]
    for label, part in (("P(better)", "better"), ("P(alike)", "equivalent"), ("P(worse)", "worse")):
        values = tuple(round(float(getattr(own, part)), 2) if own else None for own in found)
        yield Column(label, values, 2, compact=False)


def explained(metric: Metric, found: Ranks | None) -> Iterator[str]:
    """What the columns are."""
    if found:
        yield (
            f"Mean rank by {metric.heading} over the tables as blocks, with its 95 % t interval over them. Friedman's test that "
            f"all rows are equal: chi-squared {found.statistic:.3g}, p = {found.p:.3g}. Mean ranks further apart than "
            f"{found.critical:.2f} differ at 5 % (Nemenyi); rows that share a letter of groups do not."
        )
    if metric.bound is not None:
        yield (
            "Best at and near best at: share of all site-tasks where a row is the best, and where it is at most "
            f"{metric.bound:g}{metric.unit} below the best (performance profile; it counts and tests nothing)."
        )
        if found:
            yield (
                f"P: Bayesian signed-rank test against `local` on the same network, alike within +-{metric.bound:g}"
                f"{metric.unit}; on a further block like these. Blocks of one data set share subjects: they speak of other "
                "scenarios, not of other data."
            )
