"""Reference lines of a federation: the scores of answers that need no training, and of the target without its noise.

They are scored as methods are, on the same test subjects. What is fitted is fitted on the training subjects of the site, for a
newcomer on those that it adapts on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..federation import Federation, Task
from ..federation.scenario import with_few
from ..feed import Batch, Feed
from ..runtime.options import TrainerOptions
from . import evaluate
from .heterogeneity import LookupTable, subject_pairs


def measured_lines(federation: Federation) -> list[dict[str, Any]]:
    """A row for each line, selection, site and task, with the mean of every metric over test subjects; None where nobody has one.

    `line` is "copy_source", "mean_image" of the training targets, "own_table" (a look-up table from source to target intensity,
    heterogeneity.py) or, where the data are simulated, "noise_free": the target without its noise. `selection` is "selected"
    or "asked"; for newcomers it is "adapted-N", or "welcome" for the lines that nothing is fitted for.
    """
    found: list[dict[str, Any]] = []
    for name in (name for name in federation.names if name not in federation.poisoned):
        found += _lines(federation, name, federation.tasks[name], "selected")
        found += _lines(federation, name, federation.asked(name), "asked")
    for name, tasks in sorted(federation.newcomers.items()):
        found += _lines(federation, name, tasks, "welcome", fitted=False)
        for count in federation.conditions.adapt:
            few = {**federation.sites, name: with_few(federation.sites[name], count)}
            found += _lines(replace(federation, sites=few), name, tasks, f"adapted-{count}")
    return found


def _lines(
    federation: Federation, name: str, tasks: Sequence[Task], selection: str, fitted: bool = True
) -> Iterator[dict[str, Any]]:
    """The rows of a site's tasks."""
    if tasks:
        feed = Feed(federation, name, TrainerOptions(device="cpu"), 0, torch.device("cpu"))
    for task in tasks:
        for line, rows in _scored(federation, feed, task, fitted):
            metrics = [metric for metric in rows[0] if metric not in ("site", "task", "subject")]
            scores = {metric: _mean([row[metric] for row in rows]) for metric in metrics}
            yield {"line": line, "selection": selection, "site": name, "task": str(task)} | {
                "subjects": len(rows),
                "scores": scores,
            }


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(f"{fmean(known):.9g}") if known else None


def _scored(federation: Federation, feed: Feed, task: Task, fitted: bool) -> Iterator[tuple[str, list[evaluate.Row]]]:
    """The scores of each line, a row a subject."""
    site = federation.sites[feed.name]
    yield "copy_source", evaluate.copy_source(feed, task, "test")
    if fitted:
        yield "mean_image", evaluate.mean_image(feed, task, "test")
        table = LookupTable.fit(subject_pairs(federation, feed.name, task, "train"))
        places = [feed.channels[source] for source in task.sources]

        def looked_up(batch: Batch) -> Tensor:
            source = batch.images[:, places].mean(1, keepdim=True) / 2 + 0.5
            return torch.from_numpy(table(source.numpy())) * 2 - 1

        yield "own_table", evaluate.by_subject(feed, task, "test", looked_up)
    if site.noise_free is not None:
        clean = np.asarray(site.noise_free[:, site.contrasts.index(task.target), None], np.float32)
        number = {feed.names[row]: number for number, row in enumerate(site.rows("test"))}

        def noise_free(batch: Batch) -> Tensor:
            return torch.from_numpy(clean[[number[name] for name in batch.slices]])

        yield "noise_free", evaluate.by_subject(feed, task, "test", noise_free)
