"""How well the model that serves one site does at the others: own and other sites beside each other, and the whole matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from statistics import fmean

from ..records.score_table import Values
from ..stats.scores import Scores
from ..tables.caption import SELECTED
from ..tables.row import Row, Score
from ..tables.statistics import table_statistics
from ..tables.table import Table, contenders
from ..tables.views.columns import gain_columns, statistic_column, with_rivals
from ..tables.views.reference_rows import with_means
from ..tables.views.view import Column, TableView, name_columns, without_empty

CrossSiteMeans = Mapping[tuple[str, str], float]  # (home, site) -> mean over the site's tasks, subjects and seeds


def cross_site(table: Table) -> list[TableView]:
    """A view with a line for each row, and one with a line for each row and home; nothing where models were not scored across
    sites."""
    rows = rows_at_other_sites(table)
    return [_own_and_other_sites(table, rows), _site_by_site(table, homes(table))] if rows else []


def rows_at_other_sites(table: Table) -> list[Row]:
    """The rows with their scores at other sites, and the statistics of these; none where models were not scored across sites."""
    if not (sites := homes(table)):
        return []
    rows = [_at_other_sites(row, table, sites) for row in table.rows]
    with_statistics = zip(rows, table_statistics(contenders(rows)).rows, strict=True)
    return [replace(row, statistics=statistics) for row, statistics in with_statistics]


def homes(table: Table) -> list[str]:
    """The sites whose models are scored at all sites; empty where models were not scored across sites."""
    scenario = table.scenario
    return sorted(set(scenario["tasks"]) - set(scenario.get("poisoned", ()))) if scenario.get("across") else []


def _at_other_sites(row: Row, table: Table, homes: Sequence[str]) -> Row:
    """The row with its scores at other sites: a task of a site counts once for every home whose model does it."""
    metric, runs = table.metric, []
    for run in row.runs if not row.missing else ():
        away: Values = {}
        for home in homes:
            found = run.values(f"from-{home}", [metric.column])[metric.column]
            away |= {(site, f"{task} from {home}", subject): value for (site, task, subject), value in found.items()}
        runs.append(away)
    score = Score.of(runs, abs(metric.scale)) if runs else None
    if score is None:
        return replace(row, scores={}, matrices={})
    by_seed = {run.record.identity["seed"]: values for run, values in zip(row.runs, runs, strict=True)}
    return replace(row, scores={metric.column: score}, matrices={metric.column: Scores.of(by_seed, metric.scale)})


def _own_and_other_sites(table: Table, rows: Sequence[Row]) -> TableView:
    """Scores at own sites and at other sites, and the gain at other sites."""
    metric = table.metric
    own = [row.scores.get(metric.column) for row in table.rows]
    away = [row.scores.get(metric.column) for row in rows]
    pairs = [(home.mean, there.mean) if home and there else None for home, there in zip(own, away, strict=True)]
    others = Column("other sites", tuple(pair and pair[1] for pair in pairs), metric.digits, better=metric.sign)
    margins = statistic_column(rows, "other sites +-", lambda own: own.margin, metric.digits, compact=False)
    shown = [
        *name_columns([row.name for row in rows]),
        Column("own sites", tuple(pair and pair[0] for pair in pairs), metric.digits, better=metric.sign),
        others.with_margins(margins),
        margins,
        Column("lost abroad", tuple(pair and (pair[0] - pair[1]) * metric.sign for pair in pairs), metric.digits),
        *gain_columns(rows, metric),
    ]
    caption = (
        f"The {metric.heading} of the model that serves a site, at that site (own) and at all other sites, where the model is "
        f"told that it is at home; mean over pairs of sites, tasks, subjects and seeds, in {SELECTED}.",
        "Gain is the difference to `local` with the same network at other sites; +- is half of a 95 % interval for other seeds "
        "and other subjects at these sites, * where it is not 0 (5 % for all gains together); without *: not shown to differ.",
    )
    shown = [*with_rivals(rows, shown)]
    view = TableView(f"{table.title}: across sites", "from-SITE", without_empty(shown), table.notes, caption)
    return with_means(view, {"own sites": table})


def _site_by_site(table: Table, homes: Sequence[str]) -> TableView:
    """Every home's model at every site."""
    metric = table.metric
    means = [cross_site_means(row, table, homes) for row in table.rows]
    lines = [(row, own, home) for row, own in zip(table.rows, means, strict=True) for home in homes]
    shown = [
        *name_columns([row.name for row, _, _ in lines]),
        Column("model of", tuple(home for _, _, home in lines)),
    ]
    for site in homes:
        values = tuple(own.get((home, site)) for _, own, home in lines)
        shown.append(Column(f"at {site}", values, metric.digits, heading=("at", site)))
    caption = (
        f"The {metric.heading} of the model that serves one site at every site, mean over tasks, subjects and seeds.",
    )
    return TableView(f"{table.title}: site by site", "from-SITE", without_empty(shown), (), caption)


def cross_site_means(row: Row, table: Table, homes: Sequence[str]) -> CrossSiteMeans:
    """The mean of each home's model at each site. Empty for a row with a missing seed."""
    if row.missing:
        return {}
    column, scale = table.metric.column, abs(table.metric.scale)
    means = {}
    for home in homes:
        away = [run.values(f"from-{home}", [column])[column] for run in row.runs]
        own = [run.values(table.selection, [column])[column] for run in row.runs]
        for site in homes:
            seeds = [_site_mean(values, site, scale) for values in (own if site == home else away)]
            if not any(map(isnan, seeds)):
                means[home, site] = fmean(seeds)
    return means


def _site_mean(values: Values, site: str, scale: float) -> float:
    """The mean over a site's tasks; nan where it has no score."""
    score = Score.of([{key: value for key, value in values.items() if key[0] == site}], scale)
    return score.mean if score else float("nan")
