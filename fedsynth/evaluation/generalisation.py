"""What else is scored at the end of a run, on test subjects, with the model of the selected round.

Each row has a `selection` that says what was asked: "from-SITE", the model that serves SITE at another site, told that it is at
home; "asked", a task that the site never trained; "welcome", what a newcomer would serve with what it is sent, no row where a
method sends nothing; "adapted-N", what it serves after `adapt_steps` local steps of the method on its first N training
subjects (under `local`, whose newcomers begin at the common start, that is training from scratch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..federation import Task
from ..federation.scenario import with_few
from ..feed import Batch, Feed
from ..site import SiteState
from . import evaluate

if TYPE_CHECKING:
    from ..trainer import Trainer

Row = dict[str, Any]
Probe = tuple[str, Feed, Task, Callable[[Batch], Tensor]]  # selection; whose slices; which task; who answers


def scores(trainer: Trainer) -> list[Row]:
    """A row a probe, site, task and test subject; of a run that diverged those of the mean training image."""
    rows: list[Row] = []
    for selection, feed, task, answer in probes(trainer):
        if trainer.state.diverged:
            found = evaluate.mean_image(feed, task, "test")
        else:
            found = evaluate.by_subject(feed, task, "test", answer)
        rows += [{"selection": selection} | row for row in found]
    return rows


def probes(trainer: Trainer) -> Iterator[Probe]:
    """One after the other, each while the site that answers serves."""
    conditions = trainer.federation.conditions
    feeds = {name: feed for site in trainer.sites.values() for name, feed in site.feeds.items()}
    feeds = {name: feed for name, feed in feeds.items() if name not in trainer.federation.poisoned}
    for site in trainer.sites.values():
        with evaluate.serving(trainer.method, trainer.server, site):
            for home in site.members:
                asked = trainer.federation.asked(home)
                yield from (("asked", site.feeds[home], task, partial(trainer.answer, site)) for task in asked)
                if conditions.across and home in feeds:
                    away = [feed for name, feed in feeds.items() if name != home]
                    yield from (
                        (f"from-{home}", feed, task, partial(as_if, trainer, site, home))
                        for feed in away
                        for task in feed.tasks
                    )
    for name in trainer.federation.newcomers:
        yield from newcomer(trainer, name)


def as_if(trainer: Trainer, site: SiteState, home: str, batch: Batch) -> Tensor:
    """The site's answer to slices of another one, with the code of its own member."""
    code = torch.from_numpy(trainer.federation.code(home, batch.task)).to(batch.code)
    return trainer.answer(site, replace(batch, site=home, code=code.expand_as(batch.code)))


def newcomer(trainer: Trainer, name: str) -> Iterator[Probe]:
    """Before adaptation, and after adaptation on so many subjects, each time from what it is sent."""
    federation, method = trainer.federation, trainer.method
    options = replace(trainer.options, local_steps=federation.conditions.adapt_steps)
    if len(trainer.plan.model.places):
        site = trainer.site([name], federation, options)
        site.enter(max(trainer.state.round, 1))
        with evaluate.serving(method, trainer.server, site):
            yield from (("welcome", site.feeds[name], task, partial(trainer.answer, site)) for task in site.tasks)
        trainer.slots.dismiss(site)
    for count in federation.conditions.adapt:
        few = replace(federation, sites={**federation.sites, name: with_few(federation.sites[name], count)})
        site = trainer.site([name], few, options)
        site.enter(1)
        if not trainer.state.diverged:
            with site.hook("receive"):
                evaluate.take(method, trainer.server, site)
            site.at_work = True
            for _ in site.train({}):
                pass
            site.at_work = False
        with evaluate.serving(method, trainer.server, site, adapted=True):
            yield from (
                (f"adapted-{count}", site.feeds[name], task, partial(trainer.answer, site)) for task in site.tasks
            )
        trainer.slots.dismiss(site)
