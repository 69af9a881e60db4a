"""The rows that all tables share, over scenarios and data sets: mean ranks where these are independent blocks, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..stats.bayes import signed_rank
from ..stats.multiple.letters import significance_letters
from ..stats.multiple.reference import LEVEL
from ..stats.profiles import profiles
from ..stats.ranks import Ranks
from ..stats.scores import Floats, StatsError
from ..tables.metric import Metric
from ..tables.ranking import SharedRows, ranking
from ..tables.row import RowName
from ..tables.table import Table
from ..tables.views.columns import six_digits
from ..tables.views.view import Column, TableView, name_columns


def across_scenarios(tables: Sequence[Table]) -> list[TableView]:
    """One view of the rows that have scores in every table; none for a single table, or where no row is in all."""
    shared = SharedRows.of(tables)
    if len(shared.tables) < 2 or not shared.names:
        return []
    metric, names = shared.tables[0].metric, shared.names
    shown = [*name_columns(names)]
    ranks, reason = None, ""
    try:
        ranks = ranking(tables).ranks
        shown += _rank_columns(ranks)
    except StatsError as error:
        reason = str(error)
    means = metric.sign * shared.scores.mean(0)
    shown.append(Column(f"mean {metric.heading}", _six_digits_each(means), metric.digits, better=metric.sign))
    if metric.bound is not None:
        shares = profiles(_site_task_scores(shared), np.array([0.0, metric.bound]))
        shown.append(Column("best at", _six_digits_each(shares[:, 0]), 2, better=1))
        shown.append(Column("near best at", _six_digits_each(shares[:, 1]), 2, better=1))
        if ranks:
            shown += _probability_columns(names, shared.scores, metric.bound)
    titles = "; ".join(table.title for table in shared.tables)
    return [
        TableView(
            "Across scenarios",
            shared.tables[0].selection,
            tuple(shown),
            (f"No mean ranks: {reason}.",) if reason else (),
            (
                f"The rows that have scores in each of {len(shared.tables)} tables: {titles}.",
                *_explanations(metric, ranks),
            ),
        )
    ]


def _six_digits_each(values: Floats) -> tuple[float | None, ...]:
    return tuple(six_digits(float(value)) for value in values)


def _rank_columns(ranks: Ranks) -> Iterator[Column]:
    """Mean ranks with their intervals, and letters if Friedman's test finds a difference at all."""
    yield Column("mean rank", _six_digits_each(ranks.mean), 2, better=-1)
    yield Column("rank low", _six_digits_each(ranks.low), 2)
    yield Column("rank high", _six_digits_each(ranks.high), 2)
    if ranks.p < LEVEL:
        yield Column("groups", tuple(significance_letters(ranks.pairs)))


def _site_task_scores(shared: SharedRows) -> Floats:
    """[site-tasks of all tables, rows], higher is better."""
    found = []
    for rows in shared.rows:
        matrices = [rows[name].matrix for name in shared.names]
        found += list(
            np.array([own.design.site_task_means(own.values).mean(0) for own in matrices if own is not None]).T
        )
    return np.array(found)


def _probability_columns(names: Sequence[RowName], scores: Floats, bound: float) -> Iterator[Column]:
    """How probable it is that on a further block a row is better than `local` on its network by more than the bound."""
    positions = {name: position for position, name in enumerate(names)}
    locals_ = [positions.get(("local", network)) for _, network in names]
    found = [
        None if local is None or local == row else signed_rank(scores[:, row] - scores[:, local], bound)
        for row, local in enumerate(locals_)
    ]
    for label, part in (("P(better)", "better"), ("P(alike)", "equivalent"), ("P(worse)", "worse")):
        values = tuple(round(float(getattr(own, part)), 2) if own else None for own in found)
        yield Column(label, values, 2, compact=False)


def _explanations(metric: Metric, ranks: Ranks | None) -> Iterator[str]:
    """What the columns are."""
    if ranks:
        yield (
            f"The mean rank by {metric.heading} takes the tables as blocks; rank low and rank high are its 95 % t interval over "
            f"them. Friedman's test that all rows are equal: chi-squared {ranks.statistic:.3g}, p = {ranks.p:.3g}. Mean ranks "
            f"further apart than {ranks.critical:.2f} differ at 5 % (Nemenyi); rows that share a letter in groups are not shown "
            "to differ."
        )
    if metric.bound is not None:
        yield (
            "Best at is the share of all site-tasks where a row is the best, near best at the share where it is at most "
            f"{metric.bound:g}{metric.unit} below the best (performance profile; it counts and tests nothing)."
        )
        if ranks:
            yield (
                "P is the probability, by the Bayesian signed-rank test, that on a further block like these a row is better than "
                f"`local` on the same network, alike within +-{metric.bound:g}{metric.unit}, or worse. Blocks of one data set "
                "share subjects: they stand for other scenarios, not for other data."
            )
