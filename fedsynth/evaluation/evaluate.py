"""Scores of the images that every site would serve, and the two baselines that need no training."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..exchange import Message
from ..federation import Task
from ..feed import Batch, Feed
from ..method import Method
from ..runtime.metric import Region
from ..site import SiteState
from .columns import FIRST, installed_metrics, metric_columns
from .scores import scores

Row = dict[str, Any]
GALLERY_SLICES = 2


@contextmanager
def serving(method: Method, message: Message | None, site: SiteState) -> Iterator[None]:
    """Inside, the site's nets are what it would serve with: it received the message that it is sent (None where it adapted, and
    goes on from what it has) and personalised it. Afterwards they are as before."""
    with site.preserved(), site.hook("serve"):
        if message is not None:
            deliver(method, message, site)
        method.personalise(site)
        with site.hook("synthesise"):
            yield


def deliver(method: Method, message: Message, site: SiteState) -> None:
    """Let the site receive a message, as it does to serve."""
    message = message.delivered()
    site.received = message.model
    method.receive(site, message)


def by_subject(feed: Feed, task: Task, split: str, predict: Callable[[Batch], Tensor]) -> list[Row]:
    """A row of scores a subject, each the mean over those of the subject's slices that have it. Test subjects have a score by
    every column of `metric_columns`, NaN where none is defined; others have PSNR and SSIM over the slice. Everything is read from
    the device at once.

    Raises:
        MetricError: A score is not one that its metric can have.
    """
    tables: list[dict[str, Tensor]] = []
    subjects: list[str] = []
    columns, metrics = metric_columns(), installed_metrics()
    if split != "test":
        columns = {name: columns[name] for name in FIRST}
        metrics = {name: metrics[name] for name in FIRST}
    with torch.no_grad():
        for part in feed.score(task, split):
            prediction, target = predict(part.batch).float(), part.batch.target
            mask, lesions = (part.masks, part.lesions) if split == "test" else (None, None)
            tables.append(scores(prediction, target, mask, lesions, metrics))
            subjects += part.subjects
        names = list(tables[0])
        values = torch.stack([torch.cat([table[name] for table in tables]) for name in names]).cpu().numpy()
    owners = np.array(subjects)
    rows = []
    for subject in dict.fromkeys(subjects):
        row: Row = {"site": feed.name, "task": str(task), "subject": subject} | dict.fromkeys(columns, math.nan)
        for name, slices in zip(names, values[:, owners == subject].astype(np.float64), strict=True):
            column = columns[name]
            for value in slices.tolist():
                column.check(name, value, f"subject {subject} ({task} at {feed.name})")
            if not (column.metric.everywhere and column.region is Region.slice):
                slices = slices[~np.isnan(slices)]  # a slice without foreground, for example, lacks some scores
            row[name] = float(slices.mean()) if len(slices) else math.nan
        rows.append(row)
    return rows


def score(method: Method, message: Message, site: SiteState, split: str, but: Collection[str] = ()) -> list[Row]:
    """The scores of the tasks of every real site `but` these, by what its site state serves with a message."""
    feeds = [feed for name, feed in site.feeds.items() if name not in but]
    if not feeds:
        return []
    with serving(method, message, site):
        return [row for feed in feeds for task in feed.tasks for row in by_subject(feed, task, split, site.answer)]


def gallery(method: Method, message: Message, site: SiteState) -> dict[str, dict[str, np.ndarray]]:
    """ "site/task" -> source (the first of several), target and prediction of the middle slices of the first test subjects, uint8
    `[n, H, W]`."""
    shown: dict[str, dict[str, np.ndarray]] = {}
    with serving(method, message, site), torch.no_grad():
        for feed in site.feeds.values():
            subjects = [s.slices for s in feed.subjects if s.split == "test"][:GALLERY_SLICES]
            rows = np.array([(s.start + s.stop) // 2 for s in subjects])
            for task in feed.tasks:
                batch = feed.batch(task, rows)
                images = {
                    "source": batch.images[:, feed.channels[task.sources[0]], None],
                    "target": batch.target,
                    "prediction": site.answer(batch),
                }
                shown[f"{feed.name}/{task}"] = {name: _grey_values(image) for name, image in images.items()}
    return shown


def _grey_values(images: Tensor) -> np.ndarray:
    """Images `[B, 1, H, W]` in [-1, 1] as grey values from 0 to 255, uint8 `[B, H, W]`."""
    grey = images[:, 0].float().add(1).mul(127.5).round().clamp(0, 255).nan_to_num().byte()
    found: np.ndarray = grey.cpu().numpy()
    return found


def copy_source(feed: Feed, task: Task, split: str) -> list[Row]:
    """The scores of the source as the answer, or of the mean of several sources: what training must beat."""
    places = [feed.channels[source] for source in task.sources]
    return by_subject(feed, task, split, lambda batch: batch.images[:, places].mean(1, keepdim=True))


def mean_image(feed: Feed, task: Task, split: str) -> list[Row]:
    """The scores of the mean training target as the answer to every slice: what a run that diverged is scored as."""
    mean = feed.images[feed.rows["train"], feed.channels[task.target]].float().mean(0).to(feed.device)
    return by_subject(feed, task, split, lambda batch: mean.expand_as(batch.target))


def psnr_by_task(rows: list[Row]) -> dict[str, float]:
    """ "site task" -> the mean over subjects, dB."""
    cells: dict[str, list[float]] = {}
    for row in rows:
        cells.setdefault(f"{row['site']} {row['task']}", []).append(row["psnr"])
    return {cell: float(np.mean(values)) for cell, values in cells.items()}


def mean_psnr(rows: list[Row]) -> float:
    """The mean over site-tasks of the mean over subjects, dB."""
    return float(np.mean([*psnr_by_task(rows).values()]))
