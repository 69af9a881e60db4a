"""What else is scored at the end of a run, on test subjects, with the model of the selected round.

Each row has a `selection` that says what was asked:

- "from-SITE": the model that serves SITE, at another site, told that it is at home;
- "asked": a task that the site never trained;
- "welcome": what a newcomer would serve with what it is sent, after no local step; there is no row where a method sends nothing;
- "adapted-N": what a newcomer serves after `adapt_steps` local steps of the method on its first N training subjects. Under
  `local`, whose newcomers begin at the common start, that is training from scratch.

What a method does before it serves counts in these steps: all methods have as many (`SiteState.budget`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..exchange import Message
from ..federation import Federation, Task
from ..federation.scenario import with_few
from ..feed import Batch, Feed
from ..method import Method
from ..site import SiteState
from . import evaluate

Row = dict[str, Any]
Probe = tuple[str, Feed, Task, Callable[[Batch], Tensor]]  # selection; whose slices; which task; who answers


@dataclass(frozen=True)
class Probes:
    """The probes of a trained federation. `newcomer` makes the state of one of its newcomers as it is before anything is sent to
    it, with as many local steps a round as it is to adapt by; `download` is what a site is sent."""

    method: Method
    download: Callable[[str], Message]
    sites: Mapping[str, SiteState]
    federation: Federation
    newcomer: Callable[[str, Federation], SiteState]

    def score(self, round: int, diverged: bool) -> list[Row]:
        """A row a probe, site, task and test subject after this round; those of the mean training image if the run diverged."""
        rows: list[Row] = []
        for selection, feed, task, answer in self._all(round, diverged):
            scored = evaluate.mean_image if diverged else partial(evaluate.by_subject, predict=answer)
            rows += [{"selection": selection} | row for row in scored(feed, task, "test")]
        return rows

    def _all(self, round: int, diverged: bool) -> Iterator[Probe]:
        """All probes, each while the site that answers is serving."""
        feeds = {name: feed for site in self.sites.values() for name, feed in site.feeds.items()}
        feeds = {name: feed for name, feed in feeds.items() if name not in self.federation.poisoned}
        for site in self.sites.values():
            if not (self.federation.conditions.across or any(map(self.federation.asked, site.members))):
                continue  # there is nothing to ask, and some methods adapt for long before they serve
            with evaluate.serving(self.method, self.download(site.name), site):
                for home in site.members:
                    yield from (("asked", site.feeds[home], task, site.answer) for task in self.federation.asked(home))
                    if self.federation.conditions.across and home in feeds:
                        away = [feed for name, feed in feeds.items() if name != home]
                        told = partial(self._as_if_at, home, site)
                        yield from ((f"from-{home}", feed, task, told) for feed in away for task in feed.tasks)
        for name in self.federation.newcomers:
            yield from self._welcomed(name, round)
            for count in self.federation.conditions.adapt:
                yield from self._adapted(name, count, diverged)

    def _as_if_at(self, home: str, site: SiteState, batch: Batch) -> Tensor:
        """The site's answer to slices of another site, with the code of its own member `home`."""
        code = torch.from_numpy(self.federation.code(home, batch.task)).to(batch.code)
        return site.answer(replace(batch, site=home, code=code.expand_as(batch.code)))

    def _welcomed(self, name: str, round: int) -> Iterator[Probe]:
        """What a newcomer would serve with what it is sent."""
        site = self.newcomer(name, self.federation)
        if len(site.plan.model.places):
            site.budget = 0
            site.enter(max(round, 1))
            with evaluate.serving(self.method, self.download(site.name), site):
                yield from (("welcome", site.feeds[name], task, site.answer) for task in site.tasks)
            site.dismiss()

    def _adapted(self, name: str, count: int, diverged: bool) -> Iterator[Probe]:
        """What a newcomer serves after it trained on so many subjects, from what it is sent."""
        whole = self.federation.sites
        few = replace(self.federation, sites={**whole, name: with_few(whole[name], count)})
        site = self.newcomer(name, few)
        site.budget = site.full
        site.enter(1)
        if not diverged:
            with site.hook("receive"):
                evaluate.deliver(self.method, self.download(name), site)
            site.begin(1, site.full)
            with site.hook("adapt"):
                self.method.adapt(site)
            site.leave()
        with evaluate.serving(self.method, None, site):
            yield from ((f"adapted-{count}", site.feeds[name], task, site.answer) for task in site.tasks)
        site.dismiss()
