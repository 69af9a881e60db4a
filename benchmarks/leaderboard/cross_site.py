"""How well the model that serves one site does at the others: own and other sites beside each other, and the whole matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from statistics import fmean

from ..records.score_table import Values
from ..stats.scores import Scores
from ..tables.caption import whose
from ..tables.columns import filled, gain, six
from ..tables.row import Row, Score
from ..tables.statistics import row_statistics
from ..tables.table import Table, contenders
from ..tables.view import Column, TableView
from .newcomers import several

Matrix = Mapping[tuple[str, str], float]  # (home, site) -> mean over the site's tasks, subjects and seeds


def cross_site(table: Table) -> list[TableView]:
    """A row a method, and a row a method and home; nothing where models were not scored across sites."""
    if not (sites := homes(table)):
        return []
    rows = [abroad(row, table, sites) for row in table.rows]
    placed = zip(rows, row_statistics(contenders(rows))[0], strict=True)
    rows = [replace(row, statistics=statistics) for row, statistics in placed]
    return [summary(table, rows), whole(table, sites)]


def homes(table: Table) -> list[str]:
    """The sites whose models are scored at all sites; empty where none are."""
    scenario = table.rows[0].runs[0].record.identity["scenario"]
    return sorted(set(scenario["tasks"]) - set(scenario.get("poisoned", ()))) if scenario.get("across") else []


def abroad(row: Row, table: Table, homes: Sequence[str]) -> Row:
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
        return replace(row, scores={}, matrix=None)
    own = {run.record.identity["seed"]: values for run, values in zip(row.runs, runs, strict=True)}
    return replace(row, scores={metric.column: score}, matrix=Scores.of(own, metric.scale))


def summary(table: Table, rows: Sequence[Row]) -> TableView:
    """Own sites and other sites, and what is gained there."""
    metric = table.metric
    own = [row.scores.get(metric.column) for row in table.rows]
    away = [row.scores.get(metric.column) for row in rows]
    pairs = [(home.mean, there.mean) if home and there else None for home, there in zip(own, away, strict=True)]
    shown = [
        Column("method", tuple(row.method for row in rows)),
        Column("network", tuple(row.network for row in rows), compact=several(table)),
        Column("own sites", tuple(pair and pair[0] for pair in pairs), metric.digits, better=metric.sign),
        Column("other sites", tuple(pair and pair[1] for pair in pairs), metric.digits, better=metric.sign),
        Column(
            "other sites +-",
            tuple(six(row.statistics.margin) if row.statistics else None for row in rows),
            metric.digits,
        ),
        Column("lost abroad", tuple(pair and (pair[0] - pair[1]) * metric.sign for pair in pairs), metric.digits),
        *gain(rows, metric),
    ]
    caption = (
        f"{metric.heading} of the model that serves a site, at that site (own) and at all others, told that it is at home; mean "
        f"over pairs of sites, tasks, subjects and seeds, of {whose('selected')}.",
        "Gain: at other sites, over `local` with the same network; +- is half of a 95 % interval for other seeds and other "
        "subjects at these sites; p is corrected for all gains (Holm).",
    )
    return TableView(f"{table.title}: across sites", "from-SITE", tuple(filled(shown)), table.notes, caption)


def whole(table: Table, homes: Sequence[str]) -> TableView:
    """Every home's model at every site."""
    metric = table.metric
    lines = [(row, home) for row in table.rows for home in homes]
    matrices = {id(row): matrix(row, table, homes) for row in table.rows}
    shown = [
        Column("method", tuple(row.method for row, _ in lines)),
        Column("network", tuple(row.network for row, _ in lines), compact=several(table)),
        Column("model of", tuple(home for _, home in lines)),
    ]
    for site in homes:
        values = tuple(matrices[id(row)].get((home, site)) for row, home in lines)
        shown.append(Column(f"at {site}", values, metric.digits, heading=("at", site)))
    caption = (
        f"{metric.heading} of the model that serves one site at every site, mean over tasks, subjects and seeds.",
    )
    return TableView(f"{table.title}: site by site", "from-SITE", tuple(filled(shown)), (), caption)


def matrix(row: Row, table: Table, homes: Sequence[str]) -> Matrix:
    """Empty for a row with a hole."""
    if row.missing:
        return {}
    column, scale = table.metric.column, abs(table.metric.scale)
    found = {}
    for home in homes:
        away = [run.values(f"from-{home}", [column])[column] for run in row.runs]
        own = [run.values(table.selection, [column])[column] for run in row.runs]
        for site in homes:
            seeds = [at(values, site, scale) for values in (own if site == home else away)]
            if not any(map(isnan, seeds)):
                found[home, site] = fmean(seeds)
    return found


def at(values: Values, site: str, scale: float) -> float:
    """The mean over a site's tasks; nan where it has no score."""
    score = Score.of([{key: value for key, value in values.items() if key[0] == site}], scale)
    return score.mean if score else float("nan")
