"""A hospital of a run: it has its own data alone, and knows of the others what the roster says."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor

from ..evaluation import evaluate
from ..exchange import Message
from ..federation import Roster
from ..method import Method
from ..runtime import checkpoint
from ..runtime.options import TrainerOptions
from ..site import SiteState
from .outcome import Row
from .participation import poisoned
from .site_maker import SiteMaker

DONE = object()  # what `next` gives when a site has finished its part of a round


class Answer(TypedDict):
    """The validation scores of a site: by task the mean PSNR, that of copying the source if it was asked for, and the mean SSIM.
    A poisoned site has none."""

    psnr: dict[str, float]
    ssim: float
    floor: dict[str, float]


class LinkError(RuntimeError):
    """A site did not answer: it is late, or its process died. It is away for this round."""


class Party(Protocol):
    """A site as the loop of rounds sees it, in this process or elsewhere."""

    samples: int  # training slices
    full: int  # local steps of a whole round

    @property
    def trained(self) -> int: ...  # the last round in which it trained, 0 before the first

    def train(
        self, row: Row, steps: int, download: Callable[[], Message], send: Callable[[Message], None] | None
    ) -> Generator[None, None, None]: ...
    def answer(self, round: int, message: Message, floor: bool) -> Answer: ...
    def keep(self) -> int: ...
    def recall(self, trained: int, round: int) -> None: ...
    def digest(self) -> str: ...


class SiteParty:
    """A site of this process."""

    def __init__(
        self, site: SiteState, method: Method, roster: Roster, maker: SiteMaker, options: TrainerOptions
    ) -> None:
        self._site, self._method, self._roster, self._maker, self._options = site, method, roster, maker, options
        self.samples, self.full = site.samples, site.full

    @property
    def trained(self) -> int:
        """The last round in which the site trained."""
        return self._site.state[1]

    def train(
        self, row: Row, steps: int, download: Callable[[], Message], send: Callable[[Message], None] | None
    ) -> Generator[None, None, None]:
        """Its part of a round, with a pause after each local step: receives what it downloads, does so many steps, and sends its
        upload; with `send` None that is lost on the way. Fills its row of the curve."""
        work, step = self.take_part(row, steps, download, send), self._maker.step
        working = True
        try:
            while working:
                began, backwards = time.perf_counter(), step.backwards
                working = next(work, DONE) is not DONE
                row["seconds"] += time.perf_counter() - began
                row["gradient_evaluations"] += step.backwards - backwards
                if working:
                    yield
        finally:
            self._site.leave()

    def take_part(
        self, row: Row, steps: int, download: Callable[[], Message], send: Callable[[Message], None] | None
    ) -> Iterator[None]:
        """The same, of which nothing is timed."""
        site, step = self._site, self._maker.step
        losses: dict[str, Tensor] = {}
        site.begin(row["round"], steps)
        with site.slot.on_stream(), step.timing("exchange"):
            self._receive(download().delivered(), row)
        yield from site.train(losses)
        step.contract.check_trained(losses, f"the {site.steps} local steps of site {site.name} in round {site.round}")
        with site.slot.on_stream():
            if send:
                with step.timing("exchange"):
                    send(self._upload(row))
            with step.timing("waiting"):
                totals = torch.stack(list(losses.values())).tolist()
            row |= {f"loss_{role}": total / site.steps for role, total in zip(losses, totals, strict=True)}
        site.received = None

    def _receive(self, message: Message, row: Row) -> None:
        site = self._site
        if row["round"] == 1 and not self._options.common_start:
            site.received = message.model  # in place of the nets that the site lacks
            message |= {"model": site.pack(), "buffers": site.pack_buffers()}
        row["bytes_down"] = site.plan.nbytes(message, site.held)
        site.received = message.model
        with site.hook("receive"):
            self._method.receive(site, message)

    def _upload(self, row: Row) -> Message:
        site = self._site
        with site.hook("upload"):
            message = self._method.upload(site).delivered()
        row["bytes_up"] = site.plan.nbytes(message, site.held)
        if site.name in self._roster.poisoned:
            message = poisoned(message, site.received, f"method {type(self._method).__name__} at site {site.name}")
        return message

    def answer(self, round: int, message: Message, floor: bool) -> Answer:
        """Its validation scores after a round, by what it serves with a message; with the floor if that is asked for."""
        site, but = self._site, self._roster.poisoned
        site.enter(round)
        rows = evaluate.score(self._method, message, site, "val", but)
        feeds = [feed for name, feed in site.feeds.items() if floor and name not in but]
        copied = [row for feed in feeds for task in feed.tasks for row in evaluate.copy_source(feed, task, "val")]
        return {
            "psnr": evaluate.psnr_by_task(rows),
            "ssim": float(np.mean([row["ssim"] for row in rows])) if rows else 0.0,
            "floor": evaluate.psnr_by_task(copied),
        }

    def keep(self) -> int:
        """Put the site's state on the disk, and name it by the last round in which the site trained."""
        if tree := self._maker.slots.tree(self._site):  # else it is there already
            self._maker.offload.write(self._site.state, tree)
        return self.trained

    def recall(self, trained: int, round: int) -> None:
        """Make the site what it was when it was kept, as after a round. Its state is read when it is asked for something."""
        self._site.state = (self._site.name, trained)
        self._site.enter(round)

    def digest(self) -> str:
        """The SHA-256 of its tensors."""
        return checkpoint.tree_digest(self._site.slot.weights())
