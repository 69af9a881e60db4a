"""What the report shows of one table, as plain data: page/*.js draws it when its tab is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..leaderboard.cross_site import matrix
from ..leaderboard.newcomers import course
from ..leaderboard.pair import full
from ..records.data_card import lines
from ..records.record import METRICS
from ..tables.columns import columns
from ..tables.metric import Metric
from ..tables.scores import Means, SiteTask, over_seeds
from ..tables.table import Row, Table
from ..tables.validation_curves import Series, Validation
from .plots.style import Entry

UNTRAINED = (
    "copy_source",
    "mean_image",
    "own_table",
    "pooled_table",
    "gap",
)  # fedsynth/evaluation/heterogeneity.py says what they are
POINTS = 60  # of a curve, evenly spaced over its rounds and the last


def section(table: Table, of: Mapping[str, Means]) -> dict[str, Any]:
    """Everything but the images; `of` has the means of each run, by its name."""
    seeds = [[of[run.record.run] for run in row.runs] for row in table.rows]
    first = table.rows[0].runs[0].record
    heat = heatmap(table, seeds, table.selection)
    asked = heatmap(table, seeds, "asked")
    places = heat["places"]
    sites = sorted({site for site, _ in places})
    across = bool(first.identity["scenario"].get("across"))
    card = first.data.get("card")
    return {
        "title": table.title,
        "smoke": table.smoke,
        "notes": table.notes,
        "caption": table.caption,
        "rows": [told(row, entry) for row, entry in zip(table.rows, looks(table), strict=True)],
        "columns": [
            {
                "name": column.name,
                "number": column.is_number,
                "main": column.compact,
                "place": bool(column.heading[1]) and tuple(column.heading) in places,
                "cells": column.cells(),
                "best": column.places(),
                "values": [plain(value) for value in column.values],
            }
            for column in columns(table)
        ],
        "heat": heat,
        "asked": asked if asked["places"] else None,
        "curves": [curve(row) for row in table.rows],
        "front": [front(row) for row in table.rows],
        "cross": {"sites": sites, "rows": [crossed(row, table, sites) for row in table.rows]} if across else None,
        "newcomers": [[[n, plain(score)] for n, score in course(row, table).items()] for row in table.rows],
        "card": card and {"lines": lines(card), "histograms": {site: own["histogram"] for site, own in card.items()}},
        "untrained": [
            [row["site"], row["task"], *(plain(row[key]) for key in UNTRAINED)]
            for row in first.data["heterogeneity"]
        ],
    }  # fmt: skip


def names(table: Table) -> list[str]:
    """A name for each row, with the network where rows differ in it."""
    several = len({row.network for row in table.rows}) > 1
    return [full(row) if several else row.method for row in table.rows]


def looks(table: Table) -> list[Entry]:
    return [Entry(name, row.runs, {}) for name, row in zip(names(table), table.rows, strict=True)]


def told(row: Row, entry: Entry) -> dict[str, Any]:
    """Who a row is."""
    return {
        "name": entry.label,
        "method": entry.method,
        "missing": list(row.missing),
        "diverged": row.diverged,
        "seeds": len(row.runs),
    }


def heatmap(table: Table, seeds: Sequence[Sequence[Means]], selection: str) -> dict[str, Any]:
    """The site-tasks of a selection, and every metric that some row has there: how it is told, and its means [rows][places] in
    the unit that tables show; None for a row with a hole."""
    places: list[SiteTask] = sorted(
        {where[1:] for own in seeds for run in own for where in run if where[0] == selection}
    )
    found = []
    for name in METRICS:
        metric = Metric.of(name)
        cells = [
            None
            if row.missing
            else plains([abs(metric.scale) * over_seeds(own, (selection, *place), name) for place in places])
            for row, own in zip(table.rows, seeds, strict=True)
        ]
        if any(value is not None for row in cells for value in row or ()):
            told = {"name": name, "label": metric.label, "better": metric.sign, "digits": metric.digits}
            found.append(told | {"cells": cells})
    return {"places": places, "metrics": found}


def curve(row: Row) -> dict[str, Any]:
    """The series of a row: the mean over site-tasks with its band over seeds, and the mean of every site."""
    seeds = [Validation.of(run) for run in row.runs]
    sites = sorted({site for seed in seeds for site in seed.sites if "+" not in site})
    return {
        "overall": points(Series.of(seeds)),
        "sites": {site: points(Series.of([seed for seed in seeds if site in seed.sites], site)) for site in sites},
        "selected": sorted({run.record.selected_round for run in row.runs if run.record.status == "done"}),
    }


def points(series: Series) -> dict[str, list[float | None]]:
    """At most POINTS of a series; MB of 10^6 bytes."""
    count = len(series.rounds)
    kept = np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int)) if count else np.empty(0, int)
    found = {"round": series.rounds, "MB": series.traffic / 1e6, "seconds": series.seconds, "mean": series.mean}
    if (series.high > series.low).any():
        found |= {"low": series.low, "high": series.high}
    return {name: plains(values[kept].tolist()) for name, values in found.items()}


def front(row: Row) -> list[float | None] | None:
    """MB that a whole run sends, up and down, and its PSNR; None for a row with a hole."""
    if row.psnr is None:
        return None
    sent = (row.cost("bytes_up") + row.cost("bytes_down")) / 1e6
    return [plain(sent), plain(row.psnr.mean)]


def crossed(row: Row, table: Table, sites: Sequence[str]) -> list[list[float | None]]:
    """[model, data]: the mean of the model that serves one site on the data of another."""
    found = matrix(row, table, sites)
    return [[plain(found.get((home, site))) for site in sites] for home in sites]


def plains(values: Sequence[float]) -> list[float | None]:
    """`plain` of many numbers at once, which is faster."""
    found = map(float, ("%.6g " * len(values) % tuple(values)).split())
    return [value if math.isfinite(value) else None for value in found]


def plain(value: Any) -> Any:
    """A number that JSON has, with as many digits as anybody reads; None for one that it has not."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None
