"""Reference lines of a table: what needs no training, which every row should beat, and the noise ceiling, which none can.

They are what runs recorded of their data (`Record.data`), not scores of a run, so all rows of a seed have the same. Runs of old
versions recorded the PSNR of the floors, for sites that train alone, and neither other metrics nor the ceiling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..records.record import SELECTIONS, Record
from ..records.score_table import spread_of
from .metric import Metric, installed
from .row import Row, Score, SiteTask

LOOK_UP, CEILING = "look-up table", "noise ceiling"
FLOORS = {
    "copied source": "copy_source",
    "mean training image": "mean_image",
    LOOK_UP: "own_table",
}  # as records call them
LINES = FLOORS | {CEILING: "noise_free"}

SiteTasks = dict[SiteTask, tuple[int, dict[str, float]]]  # test subjects, and means by metric in the column's unit


@dataclass(frozen=True)
class ReferenceLine:
    """A line, with its score by metric in the units of metric.py, as `Row.scores`: what was not recorded is not there.

    "copied source" is the source as the answer, or the mean of several; "mean training image" that of the site's targets;
    "look-up table" the mean training target for each of 48 intensities of the source, of the site's own training subjects;
    "noise ceiling" the target without its noise, which only a simulator knows. A newcomer's are fitted on the subjects that it
    adapts on.
    """

    name: str
    scores: Mapping[str, Score]


def reference_lines(records: Sequence[Record], selection: str) -> tuple[ReferenceLine, ...]:
    """All lines, in the order of LINES, for the runs of a table and what it selects."""
    by_seed: dict[int, Record] = {}
    for record in sorted(records, key=lambda record: "reference_lines" not in record.data):  # old records know less
        by_seed.setdefault(record.identity["seed"], record)
    seeds = [_recorded(record, selection) for _, record in sorted(by_seed.items())]
    return tuple(ReferenceLine(name, dict(_scores([own.get(name, {}) for own in seeds]))) for name in LINES)


def is_below_lookup(row: Row, lines: Sequence[ReferenceLine], metric: Metric) -> bool | None:
    """Whether a row's mean is worse than that of the look-up table: by the metric or, where the runs did not record it, by PSNR.
    None where neither is known."""
    floor = next((line.scores for line in lines if line.name == LOOK_UP), {})
    for name in dict.fromkeys((metric.column, "psnr")):
        if name in floor and name in row.scores:
            sign = Metric.of(name).sign
            return sign * row.scores[name].mean < sign * floor[name].mean
    return None


def _recorded(record: Record, selection: str) -> dict[str, SiteTasks]:
    """What a record says of each line, by name."""
    scenario: dict[str, Any] = record.identity["scenario"]
    found: dict[str, SiteTasks] = {}
    if "reference_lines" in record.data:
        wanted = SELECTIONS[0] if selection in SELECTIONS else selection
        names = {recorded: name for name, recorded in LINES.items()}
        for row in record.data["reference_lines"]:
            if row["selection"] == wanted:
                known = {metric: value for metric, value in row["scores"].items() if value is not None}
                found.setdefault(names[row["line"]], {})[row["site"], row["task"]] = row["subjects"], known
    elif selection in SELECTIONS:
        scored = [
            row for row in record.data.get("heterogeneity", ()) if row["site"] not in scenario.get("poisoned", ())
        ]
        sizes = record.data["subjects_and_slices"]
        for name in _trusted(scenario):
            found[name] = {
                (row["site"], row["task"]): (sizes[row["site"]]["test"][0], {"psnr": row[FLOORS[name]]})
                for row in scored
            }
    return found


def _trusted(scenario: Mapping[str, Any]) -> Sequence[str]:
    """The lines whose old records are of this scenario: they were measured once for all numbers of training subjects, shifts and
    normalisations of the same data, whichever run came first."""
    if scenario.get("normalise"):
        return ()
    return ("copied source",) if scenario.get("train_subjects") or scenario.get("shift") else tuple(FLOORS)


def _scores(seeds: Sequence[SiteTasks]) -> Iterator[tuple[str, Score]]:
    """The mean over site-tasks, then seeds, of each metric that every seed has at the same site-tasks."""
    metrics = dict.fromkeys(metric for _, own in seeds[0].values() for metric in own) if all(seeds) else {}
    for metric, scale in ((own.column, abs(own.scale)) for own in installed(metrics)):
        means = [
            {place: scale * own[metric] for place, (_, own) in sorted(seed.items()) if metric in own} for seed in seeds
        ]
        if all(own.keys() == means[0].keys() for own in means):
            overall = [fmean(own.values()) for own in means]
            spread = spread_of(overall)
            site_tasks = {place: fmean([own[place] for own in means]) for place in means[0]}
            yield metric, Score(fmean(overall), spread, site_tasks, sum(seeds[0][place][0] for place in site_tasks))
