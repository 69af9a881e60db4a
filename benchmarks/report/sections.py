"""What the report shows of one table, as plain data; page/*.js draws it when the table's tab is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from ..tables.table import Table
from ..tables.views.columns import columns
from ..tables.views.meanings import column_meanings
from .plots.plotted_row import plotted_rows

POINTS = 60  # of a curve, evenly spaced over its rounds, the last included
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
    in_foreground = {Metric.of(name).heading for name in ("psnr_fg", "ssim_fg")}
    levels = [line_levels(line) for line in lines]
    return {
        "title": table.title,
        "smoke": table.smoke,
        "headline": table.headline,
        "notes": table.notes,
        "caption": " ".join(table.caption),
        "facts": [line.split(": ", 1) for line in table.facts],
        "score": table.metric.heading,
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
                "runs": [places[run.record.run] for run in row.runs],
            }
            for row, plotted in zip(table.rows, plotted_rows(table), strict=True)
        ],
        "columns": [
            {
                "name": column.name,
                "tip": meanings.get(column.name),
                "number": column.is_number,
                "main": column.compact or column.name in in_foreground,
                "site_task": bool(column.heading[1]) and tuple(column.heading) in trained["site_tasks"],
                "better": column.better,
                "cells": [*column.shown(" ± "), *("" if value is None else column.cell(value) for value in own)],
                "best": column.leaders,
                "values": [json_number(value) for value in (*column.values, *own)],
            }
            for column in columns(table)
            for own in [[level.get(column.name) for level in levels]]
        ],
        "trained": trained,
        "asked": asked if asked["site_tasks"] else None,
        "curves": [validation_curves(row) for row in table.rows],
        "pareto": [traffic_and_psnr(row) for row in table.rows],
        "cross_site": {"sites": sites, "rows": [model_by_site(row, table, sites) for row in table.rows]} if across else None,
        "newcomers": [json_pairs(newcomer_scores(row, table)) for row in table.rows],
        "card": card and {"lines": card_rows(card), "histograms": {site: own["histogram"] for site, own in card.items()}},
        "baselines": [
            [row["site"], row["task"], *(json_number(row[key]) for key in BASELINES)]
            for row in table.record.data["heterogeneity"]
        ],
    }  # fmt: skip


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
        known = (run[where].get(metric.column, math.nan) for run in runs if where in run)
        return abs(metric.scale) * mean_of_known(known)

    metrics = []
    recorded = dict.fromkeys(name for own in seeds for run in own for name in next(iter(run.values()), {}))
    for metric in installed(recorded):
        cells = [
            None if row.missing else json_numbers([over_seeds(own, site_task, metric) for site_task in site_tasks])
            for row, own in zip(table.rows, seeds, strict=True)
        ]
        if any(value is not None for row in cells for value in row or ()):
            description = {"name": metric.column, "label": metric.label, "better": metric.sign, "digits": metric.digits}
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
    seeds = [ValidationCurve.of(run.curve_table, run.tasks, run.images_shipped) for run in row.runs]
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
    kept = np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int)) if count else np.empty(0, int)
    found = {"round": series.rounds, "MB": series.traffic / 1e6, "seconds": series.seconds, "mean": series.mean}
    if (series.high > series.low).any():
        found |= {"low": series.low, "high": series.high}
    return {name: json_numbers(values[kept].tolist()) for name, values in found.items()}


def traffic_and_psnr(row: Row) -> list[float | None] | None:
    """The MB that a whole run sends, up and down, and its PSNR; None for a row with a hole."""
    if row.psnr is None:
        return None
    sent = (row.cost("bytes_up") + row.cost("bytes_down")) / 1e6
    return [json_number(sent), json_number(row.psnr.mean)]


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
