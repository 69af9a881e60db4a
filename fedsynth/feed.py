"""Slices that lie on the device, and the batches that are made of them there.

Which slices, tasks, flips and crops a round uses is decided on the host before its first step, from named streams, and sent
over at once; a step then only indexes. The same seed gives every method the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import streams
from .federation import Federation, FederationError, Task
from .runtime.options import TrainerOptions

EVALUATION_BATCH = 16  # slices scored at once


@dataclass(frozen=True, eq=False)
class Batch:
    """Slices of one task at one site, float32 in [-1, 1] on the device.

    Args:
        site: The real site that the slices are from.
        task: What is synthesised from what.
        images: `[B, C, H, W]`, all contrasts of the federation in the order of the code; -1 where the site lacks one.
        present: `[C]`, 1 for the contrasts that the site has and 0 for the others.
        source: `[B, 1, H, W]`. Where some task of the federation has several sources it is `[B, S, H, W]`, with a channel for
            each contrast that is a source of any task, in the order of the code; -1 where this task does not use it.
        target: `[B, 1, H, W]`.
        code: `[B, L]`, the site, the sources and the target (`Columns`).
        second: Other slices of the task, drawn independently, for methods with unpaired losses (`Method.second`); else None.
        slices: The name of each slice, its subject and its number there; empty in a local step.

    Example:
        >>> image = torch.zeros(4, 1, 16, 16)
        >>> code = torch.tensor([[1.0, 1, 0, 0, 1]]).expand(4, -1)  # one site; T1; T2
        >>> batch = Batch("north", Task("T1", "T2"), torch.cat([image, image], 1), torch.ones(2), image, image, code)
        >>> batch.copy().source.shape
        torch.Size([4, 1, 16, 16])
    """

    site: str
    task: Task
    images: Tensor
    present: Tensor
    source: Tensor
    target: Tensor
    code: Tensor
    second: Batch | None = None
    slices: tuple[str, ...] = ()

    def tensors(self) -> list[Tensor]:
        """All tensors of the batch, in one order."""
        own = [self.images, self.present, self.source, self.target, self.code]
        return own + (self.second.tensors() if self.second else [])

    def alone(self, k: int) -> Batch:
        """The batch of its slice k, counted from 0."""
        parts = {name: getattr(self, name)[k : k + 1] for name in ("images", "source", "target", "code")}
        second = self.second.alone(k) if self.second else None
        return replace(self, second=second, slices=self.slices[k : k + 1], **parts)

    def copy(self) -> Batch:
        """The same batch with tensors of its own."""
        names = ("images", "present", "source", "target", "code")
        second = self.second.copy() if self.second else None
        return replace(self, second=second, **{name: getattr(self, name).clone() for name in names})


@dataclass(frozen=True, eq=False)
class EvaluationBatch:
    """Slices to be scored: a batch, its foreground masks bool `[B, H, W]`, each slice's subject, and masks of the lesions where
    they are known."""

    batch: Batch
    masks: Tensor
    subjects: tuple[str, ...]
    lesions: Tensor | None


def fits_on(device: torch.device, federation: Federation) -> bool:
    """Whether the slices of all sites may lie on the device: whether they take at most half of its free memory."""
    if device.type != "cuda":
        return True
    slices = sum(len(site.images) for site in federation.sites.values())
    halves = slices * len(federation.contrasts) * federation.size[0] * federation.size[1]
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return 2 * halves <= (torch.cuda.mem_get_info(device)[0] + cached) // 2


class Feed:
    """One real site's slices as float16. They lie on the device; or they are `staged`: they lie in host memory, and those that a
    round needs are sent over before its first step."""

    def __init__(
        self,
        federation: Federation,
        name: str,
        options: TrainerOptions,
        seed: int,
        device: torch.device,
        staged: bool = False,
    ) -> None:
        site = federation.sites[name]
        self.name, self.options, self.seed, self.device, self.staged = name, options, seed, device, staged
        self.tasks = federation.tasks.get(name) or federation.newcomers[name]
        self.subjects = site.subjects
        self.masks = torch.from_numpy(np.array(site.masks)).to(device)
        self.lesions = None if site.lesions is None else torch.from_numpy(np.array(site.lesions)).to(device)
        self.images = torch.full(
            (len(site.images), len(federation.contrasts), *federation.size), -1.0, dtype=torch.float16
        )
        self.present = torch.zeros(len(federation.contrasts), device=device)
        for place, contrast in enumerate(federation.contrasts):
            if contrast in site.contrasts:
                self.images[:, place] = torch.from_numpy(np.array(site.images[:, site.contrasts.index(contrast)]))
                self.present[place] = 1
        if not bool((self.images.abs() <= 1).all()):
            raise FederationError(
                f"site {name}: its images hold numbers that are not finite or not in [-1, 1]; see how they are normalised"
            )
        if not staged:
            self.images = self.images.to(device)
        self.channels = {contrast: place for place, contrast in enumerate(federation.contrasts)}
        self.sources = federation.columns.sources
        known = (*self.tasks, *federation.asked(name))
        self.codes = {task: torch.from_numpy(federation.code(name, task)).to(device) for task in known}
        by_row = sorted(site.subjects, key=lambda subject: subject.slices.start)
        self.names = [f"{s.name}/{number}" for s in by_row for number in range(s.slices.stop - s.slices.start)]
        self.rows = {split: site.rows(split) for split in ("train", "val", "test")}
        self.samples = len(self.rows["train"])
        self.steps = options.steps(self.samples)
        self.epoch = ceil(self.samples / options.batch)

    def train(self, round: int, second: bool = False) -> list[Draw]:
        """The local steps of a round, as batches that are made on the device when they are asked for."""
        shape = self.steps, self.options.batch
        first = (round - 1) * self.steps * self.options.batch
        tasks = streams.host(self.seed, self.name, "task", round).integers(len(self.tasks), size=self.steps)
        draws = self._draws(tasks, self._order(first, shape[0] * shape[1]).reshape(shape), "augmentation", round)
        if second:
            picks = streams.host(self.seed, self.name, "second", round).integers(self.samples, size=shape)
            others = self._draws(tasks, self.rows["train"][picks], "second augmentation", round)
            draws = [replace(draw, second=other) for draw, other in zip(draws, others, strict=True)]
        return draws

    def draw(self, count: int, split: str, *names: object, second: bool = False) -> list[Batch]:
        """Batches from a stream with a name of its own, not augmented."""
        stream = streams.host(self.seed, self.name, "draw", *names)
        rows = self.rows[split]
        size = min(self.options.batch, len(rows))
        picks = np.stack([rows[stream.permutation(len(rows))[:size]] for _ in range(count)])
        tasks = stream.integers(len(self.tasks), size=count)
        others = rows[stream.integers(len(rows), size=picks.shape)]
        return [
            replace(
                self.batch(self.tasks[task], picks[k]),
                second=self.batch(self.tasks[task], others[k]) if second else None,
            )
            for k, task in enumerate(tasks)
        ]

    def score(self, task: Task, split: str) -> Iterator[EvaluationBatch]:
        """All slices of a split in order, not augmented."""
        owner = {row: s.name for s in self.subjects for row in range(s.slices.start, s.slices.stop)}
        for chunk in np.array_split(self.rows[split], -(-len(self.rows[split]) // EVALUATION_BATCH)):
            rows = torch.from_numpy(chunk).to(self.device)
            lesions = None if self.lesions is None else self.lesions[rows]
            yield EvaluationBatch(
                self.batch(task, chunk), self.masks[rows], tuple(owner[row] for row in chunk), lesions
            )

    def batch(self, task: Task, rows: np.ndarray) -> Batch:
        """The slices of these rows, not augmented."""
        return replace(self.make(task, *self._slices(rows)), slices=tuple(self.names[row] for row in rows))

    def _slices(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Slices on the device, `[N, C, H, W]`, and the places of `rows` among them, in the shape of `rows`."""
        if not self.staged:
            return self.images, torch.from_numpy(rows).to(self.device)
        needed, places = np.unique(rows, return_inverse=True)
        shape = (len(needed), *self.images.shape[1:])
        part = torch.empty(shape, dtype=self.images.dtype, pin_memory=self.device.type == "cuda")
        torch.index_select(self.images, 0, torch.from_numpy(needed), out=part)
        sent = part.to(self.device, non_blocking=True)
        return sent, torch.from_numpy(places.reshape(rows.shape)).to(self.device)

    def make(
        self, task: Task, slices: Tensor, rows: Tensor, flip: Tensor | None = None, crop: Tensor | None = None
    ) -> Batch:
        """The batch of these rows of the slices, flipped left-right where `flip` `[B]` is True, and resampled by the affine maps
        `crop` `[B, 2, 3]`."""
        images = slices[rows].float()
        if flip is not None:
            images = torch.where(flip[:, None, None, None], images.flip(-1), images)
        if crop is not None:
            grid = F.affine_grid(crop, list(images.shape), align_corners=False)
            images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        target = images[:, self.channels[task.target], None]
        code = self.codes[task].expand(len(rows), -1)
        return Batch(self.name, task, images, self.present, self._source(task, images), target, code)

    def _source(self, task: Task, images: Tensor) -> Tensor:
        """The only source, `[B, 1, H, W]`; where some task of the federation has several, a channel for each of any task's."""
        used = [self.channels[source] for source in task.sources]
        if not self.sources:
            return images[:, used[0], None]
        background = torch.full_like(images[:, :1], -1)
        return torch.cat([images[:, place, None] if place in used else background for place in self.sources], 1)

    def _order(self, first: int, count: int) -> np.ndarray:
        """A part of the endless sequence of permuted epochs: batches run on across rounds and are always full."""
        rows, n = self.rows["train"], self.samples
        epochs = range(first // n, (first + count - 1) // n + 1)
        order = np.concatenate([streams.host(self.seed, self.name, "order", e).permutation(n) for e in epochs])
        start = first - first // n * n
        return rows[order[start : start + count]]

    def _draws(self, tasks: np.ndarray, order: np.ndarray, purpose: str, round: int) -> list[Draw]:
        slices, rows = self._slices(order)
        flips, crops = self._augmentation(purpose, round, order.shape)
        return [
            Draw(
                self,
                self.tasks[task],
                slices,
                rows[k],
                None if flips is None else flips[k],
                None if crops is None else crops[k],
            )
            for k, task in enumerate(tasks)
        ]

    def _augmentation(self, purpose: str, round: int, shape: tuple[int, ...]) -> tuple[Tensor | None, Tensor | None]:
        stream = streams.host(self.seed, self.name, purpose, round)
        flips = crops = None
        if self.options.flip:
            flips = torch.from_numpy(stream.random(shape) < 0.5).to(self.device)
        if self.options.zoom > 1:
            share = 1 / self.options.zoom
            maps = np.zeros((*shape, 2, 3), np.float32)
            maps[..., 0, 0] = maps[..., 1, 1] = share
            maps[..., 2] = stream.uniform(share - 1, 1 - share, (*shape, 2))
            crops = torch.from_numpy(maps).to(self.device)
        return flips, crops


@dataclass(frozen=True, eq=False)
class Draw:
    """One scheduled batch: what is in it is decided, and its images are made when it is used."""

    feed: Feed
    task: Task
    slices: Tensor
    rows: Tensor
    flip: Tensor | None
    crop: Tensor | None
    second: Draw | None = None

    def make(self) -> Batch:
        """The batch, on the device."""
        batch = self.feed.make(self.task, self.slices, self.rows, self.flip, self.crop)
        return batch if self.second is None else replace(batch, second=self.second.make())
