"""What the report shows of one table, as plain data; page/*.js draws it when the table's tab is opened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..leaderboard.cross_site import cross_site_means
from ..leaderboard.newcomers import newcomer_lines, newcomer_scores
from ..records.data_card import card_rows
from ..records.score_table import Means, mean_of_known
from ..stats.validation_curve import CurveOverSeeds, ValidationCurve
from ..tables.headline import ASIDE
from ..tables.metric import Metric, installed
from ..tables.reference_lines import ReferenceLine
from ..tables.row import Row, SiteTask
from ..tables.statistics import Decision
from ..tables.table import Table
from ..tables.views.columns import OVER_FEDAVG, columns
from ..tables.views.meanings import column_meanings
from ..tables.views.view import Column
from .plots.plotted_row import plotted_rows

POINTS = 60  # of a curve, evenly spaced over its rounds, the last included
IN_SIGHT = ("psnr", "ssim", "psnr_fg", "ssim_fg")  # metrics that the leaderboard shows first, each with its interval
BASELINES = ("copy_source", "mean_image", "own_table", "pooled_table", "gap")  # see evaluation/heterogeneity.py


def table_block(table: Table, run_means: Mapping[str, Means], places: Mapping[str, int]) -> dict[str, Any]:
    """Everything about a table but its images. By a run's name, `run_means` has its means, `places` its line among all runs."""
    seeds = [[run_means[run.record.run] for run in row.runs] for row in table.rows]
    trained = site_task_means(table, seeds, table.selection)
    asked = site_task_means(table, seeds, "asked")
    sites = sorted({site for site, _ in trained["site_tasks"]})
    across = bool(table.scenario.get("across"))
    card = table.record.data.get("card")
    meanings, lines = column_meanings(table), recorded_lines(table)
    in_sight = {OVER_FEDAVG, *(Metric.of(name).heading for name in IN_SIGHT)}
    levels = [line_levels(line) for line in lines]
    return {
        "title": table.title,
        "smoke": table.smoke,
        "headline": table.headline,
        "notes": table.notes,
        "caption": " ".join(table.caption),
        "facts": [line.split(": ", 1) for line in table.facts],
        "score": table.metric.heading,
        "unit": table.metric.unit,
        "lines": [line.name for line in lines],
        "not_recorded": [line.name for line in table.lines if not line.scores],
        "newcomer_lines": [[name, json_pairs(scores)] for name, scores in newcomer_lines(table).items()],
        "rows": [
            {
                "name": plotted.label,
                "title": plotted.title,
                "method": plotted.method,
                "missing": list(row.missing),
                "diverged": row.diverged,
                "aside": plotted.method in ASIDE,
                "below": row.below_lookup is True,
                "runs": [places[run.record.run] for run in row.runs],
            }
            for row, plotted in zip(table.rows, plotted_rows(table), strict=True)
        ],
        "columns": [
            {
                "name": column.name,
                "tip": meanings.get(column.name),
                "number": column.is_number,
                "main": column.compact or column.name in in_sight,
                "site_task": bool(column.heading[1]) and tuple(column.heading) in trained["site_tasks"],
                "better": column.better,
                "cells": [*column.shown(" ± "), *("" if value is None else column.cell(value) for value in own)],
                "best": column.leaders,
                "values": [json_number(value) for value in (*column.values, *own)],
            }
            for column in with_intervals(columns(table), table)
            for own in [[level.get(column.name) for level in levels]]
        ],
        "gains": gains(table),
        "pairs": pairs_of_methods(table),
        "trained": trained,
        "asked": asked if asked["site_tasks"] else None,
        "curves": [validation_curves(row) for row in table.rows],
        "pareto": [traffic_and_psnr(row, margin) for row, margin in zip(table.rows, table.margins("psnr"), strict=True)],
        "cross_site": {"sites": sites, "rows": [model_by_site(row, table, sites) for row in table.rows]} if across else None,
        "newcomers": [
            [[count, json_number(mean), json_number(margin)] for count, (mean, margin) in newcomer_scores(row, table).items()]
            for row in table.rows
        ],
        "card": card and {"lines": card_rows(card), "histograms": {site: own["histogram"] for site, own in card.items()}},
        "baselines": [
            [row["site"], row["task"], *(json_number(row[key]) for key in BASELINES)]
            for row in table.record.data["heterogeneity"]
        ],
    }  # fmt: skip


def with_intervals(columns: Iterable[Column], table: Table) -> Iterator[Column]:
    """The columns, those of the metrics IN_SIGHT with the intervals of their means."""
    metrics = {metric.heading: metric for name in IN_SIGHT if (metric := Metric.of(name)) != table.metric}
    for column in columns:
        own = metrics.get(column.name)
        yield replace(column, margins=tuple(table.margins(own.column))) if own else column


def gains(table: Table) -> dict[str, list[dict[str, Any] | None]]:
    """Control -> what each row gains over it: the difference, its interval, that of all gains together, and whether it is shown
    to differ from 0 (None: exploratory, or of a row of which nothing is claimed)."""
    own = [row.statistics for row in table.rows]
    over = {
        "local": [one.gain if one else None for one in own],
        "fedavg": [one.over_fedavg if one else None for one in own],
    }
    return {
        name: [_gain(found, row.claims) if found else None for row, found in zip(table.rows, decisions, strict=True)]
        for name, decisions in over.items()
        if any(decisions)
    }


def _gain(found: Decision, claims: bool) -> dict[str, Any]:
    return {
        "difference": json_number(found.comparison.difference),
        "interval": json_numbers([found.comparison.low, found.comparison.high]),
        "together": None if found.low is None or found.high is None else json_numbers([found.low, found.high]),
        "shown": found.significant if claims else None,
    }


def pairs_of_methods(table: Table) -> dict[str, Any] | None:
    """All pairs of the methods, [row minus column]; None where nothing is tested."""
    if table.pairs is None:
        return None
    matrices = {"difference": table.pairs.difference, "low": table.pairs.low, "high": table.pairs.high}
    return {
        "rows": table.pairs.rows,
        **{name: [json_numbers(line) for line in own.tolist()] for name, own in matrices.items()},
        "shown": table.pairs.significant.tolist(),
    }


def recorded_lines(table: Table) -> list[ReferenceLine]:
    """The reference lines that the runs recorded."""
    return [line for line in table.lines if line.scores]


def line_levels(line: ReferenceLine) -> dict[str, str | float]:
    """What a reference line has in the columns of a table, by their names."""
    found: dict[str, str | float] = {"method": line.name}
    for name, score in line.scores.items():
        head = Metric.of(name).heading
        found[head] = score.mean
        found |= {f"{' '.join(site_task)} {head}": mean for site_task, mean in score.site_tasks.items()}
    return found


def site_task_means(table: Table, seeds: Sequence[Sequence[Means]], selection: str) -> dict[str, Any]:
    """The site-tasks of a selection, and the means of every metric that some row has there.

    Means are [rows][site-tasks], in the unit that tables show; a row with a hole has None.
    """
    site_tasks: list[SiteTask] = sorted(
        {where[1:] for own in seeds for run in own for where in run if where[0] == selection}
    )

    def over_seeds(runs: Sequence[Means], site_task: SiteTask, metric: Metric) -> float:
        where = (selection, *site_task)
        return abs(metric.scale) * mean_of_known(
            [run[where].get(metric.column, math.nan) for run in runs if where in run]
        )

    metrics = []
    recorded = dict.fromkeys(name for own in seeds for run in own for name in next(iter(run.values()), {}))
    for metric in installed(recorded):
        cells = [
            None if row.missing else json_numbers([over_seeds(own, site_task, metric) for site_task in site_tasks])
            for row, own in zip(table.rows, seeds, strict=True)
        ]
        if any(value is not None for row in cells for value in row or ()):
            description = {
                "name": metric.column,
                "label": metric.label,
                "unit": metric.unit,
                "better": metric.sign,
                "digits": metric.digits,
            }
            lines = [
                [json_number(line.scores[metric.column].site_tasks.get(site_task)) for site_task in site_tasks]
                if metric.column in line.scores and selection == table.selection
                else [None] * len(site_tasks)
                for line in recorded_lines(table)
            ]
            metrics.append(description | {"cells": cells, "lines": lines})
    return {"site_tasks": site_tasks, "metrics": metrics}


def validation_curves(row: Row) -> dict[str, Any]:
    """The row's curve over all site-tasks and that of every site, each with its band over seeds, and the selected rounds."""
    seeds = row.curves or [ValidationCurve.of(run.curve_table, run.tasks, run.images_shipped) for run in row.runs]
    sites = sorted({site for seed in seeds for site in seed.sites if "+" not in site})
    return {
        "overall": curve_points(CurveOverSeeds.of(seeds)),
        "sites": {
            site: curve_points(CurveOverSeeds.of([seed for seed in seeds if site in seed.sites], site))
            for site in sites
        },
        "selected": sorted({run.record.selected_round for run in row.runs if run.record.status == "done"}),
    }


def curve_points(series: CurveOverSeeds) -> dict[str, list[float | None]]:
    """At most POINTS points of a curve; an MB is 10^6 bytes."""
    count = len(series.rounds)
    kept = np.linspace(0, count - 1, min(count, POINTS)).astype(int)
    found = {"round": series.rounds, "MB": series.traffic / 1e6, "seconds": series.seconds, "mean": series.mean}
    if (series.high > series.low).any():
        found |= {"low": series.low, "high": series.high}
    return {name: json_numbers(values[kept].tolist()) for name, values in found.items()}


def traffic_and_psnr(row: Row, margin: float | None) -> list[float | None] | None:
    """The MB that a whole run sends, up and down, its PSNR, and half of the interval of that; None for a row with a hole."""
    if row.psnr is None:
        return None
    sent = (row.cost("bytes_up") + row.cost("bytes_down")) / 1e6
    return [json_number(sent), json_number(row.psnr.mean), json_number(margin)]


def model_by_site(row: Row, table: Table, sites: Sequence[str]) -> list[list[float | None]]:
    """[model][data]: the mean score of the model that serves one site on the data of another."""
    found = cross_site_means(row, table, sites)
    return [[json_number(found.get((home, site))) for site in sites] for home in sites]


def json_number(value: Any) -> Any:
    """A number with six significant digits, which is more than anybody reads; None where JSON has no such number."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def json_pairs(values: Mapping[int, float]) -> list[list[int | float | None]]:
    return [[at, json_number(value)] for at, value in values.items()]


def json_numbers(values: Sequence[float]) -> list[float | None]:
    """`json_number` of many numbers at once, which is faster."""
    found = map(float, ("%.6g " * len(values) % tuple(values)).split())
    return [value if math.isfinite(value) else None for value in found]
