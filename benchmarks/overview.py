"""The rows that all tables share, over scenarios and data sets: mean ranks where these are independent blocks, else the reason.

A block is a scenario on a data set (stats/ranks.py says why no site is one). Smoke runs rank nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .column import Column
from .columns import six
from .metric import Metric
from .panel import Panel
from .stats.bayes import signed_rank
from .stats.multiple import LEVEL, groups
from .stats.profiles import profiles
from .stats.ranks import Ranks, ranks
from .stats.scores import Floats, StatsError
from .table import Row, Table

Name = tuple[str, str]  # method, network


def overview(tables: Sequence[Table]) -> list[Panel]:
    """One panel of the rows that are whole in every table; none for a single table, or no row in common."""
    ranked = [table for table in tables if not table.smoke]
    if len(ranked) < 2:
        return []
    metric = ranked[0].metric
    named = [{(row.method, row.network): row for row in table.rows if row.matrix} for table in ranked]
    names = sorted(set.intersection(*map(set, named)))
    if not names:
        return []
    scores = np.array([[mean(rows[name], metric) for name in names] for rows in named])  # [blocks, rows]
    names, scores = sort(names, scores)
    shown = [
        Column("method", tuple(method for method, _ in names)),
        Column("network", tuple(network for _, network in names), compact=len({network for _, network in names}) > 1),
    ]
    found, reason = ranking(ranked, scores, names)
    if found:
        shown += ranked_columns(found)
    means = tuple(six(float(value)) for value in metric.sign * scores.mean(0))
    shown.append(Column(f"mean {metric.heading}", means, metric.digits, better=metric.sign))
    if metric.bound is not None:
        near = profiles(cells(named, names), np.array([0.0, metric.bound]))
        shown.append(Column("best at", tuple(six(float(value)) for value in near[:, 0]), 2, better=1))
        shown.append(Column("near best at", tuple(six(float(value)) for value in near[:, 1]), 2, better=1))
        if found:
            shown += bayesian(names, scores, metric.bound)
    told = "; ".join(table.title for table in ranked)
    return [
        Panel(
            "Across scenarios",
            ranked[0].selection,
            tuple(shown),
            (f"No mean ranks: {reason}.",) if reason else (),
            (f"Of the rows that are whole in every one of {len(ranked)} tables: {told}.", *explained(metric, found)),
        )
    ]


def mean(row: Row, metric: Metric) -> float:
    """Higher is better, in the metric's unit."""
    return metric.sign * row.scores[metric.column].mean


def sort(names: list[Name], scores: Floats) -> tuple[list[Name], Floats]:
    """By mean rank, the best first."""
    order = np.argsort((scores[:, None, :] > scores[:, :, None]).sum(2).mean(0), kind="stable")
    return [names[place] for place in order], scores[:, order]


def ranking(tables: Sequence[Table], scores: Floats, names: Sequence[Name]) -> tuple[Ranks | None, str]:
    """Mean ranks, or why there are none."""
    identities = [table.rows[0].runs[0].record.identity for table in tables]
    blocks = [(identity["scenario"]["name"], identity["dataset"]["name"]) for identity in identities]
    try:
        return ranks(scores, blocks, [" on ".join(name) for name in names]), ""
    except StatsError as error:
        return None, str(error)


def ranked_columns(found: Ranks) -> Iterator[Column]:
    """Mean ranks with their intervals, and letters if Friedman's test finds a difference at all."""
    yield Column("mean rank", tuple(six(float(value)) for value in found.mean), 2, better=-1)
    yield Column("rank low", tuple(six(float(value)) for value in found.low), 2)
    yield Column("rank high", tuple(six(float(value)) for value in found.high), 2)
    if found.p < LEVEL:
        yield Column("groups", tuple(groups(found.pairs)))


def cells(named: Sequence[dict[Name, Row]], names: Sequence[Name]) -> Floats:
    """[site-tasks of all tables, rows], higher is better."""
    found = []
    for rows in named:
        matrices = [rows[name].matrix for name in names]
        found += list(np.array([own.design.place_means(own.values).mean(0) for own in matrices if own is not None]).T)
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
