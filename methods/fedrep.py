"""FedRep: a shared representation under local heads (Collins et al., ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

from torch import nn

from fedsynth.feed import Batch
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedper import FedPer


@dataclass
class FedRep(FedPer):
    """The last `head_stages` (1) stages of the generator stay at the site, all before them, the body, travels; in a round a
    site trains its head first, with the body as it came, then the body alone.

    `body_epochs`: passes over the local data that train the body, 1 in the released code (`local_rep_ep`); the steps before
    them train the head. A round here may be no longer than that, and a head that never trains is not the paper's method, so
    the body gets at most `body_share` of a round's steps, and at least one step (half is ours; the paper has no such case).

    Conditioning goes with the stage that it follows, so none of it with the last: it shapes the representation that heads read.
    The discriminators move in both phases: they are part of the loss, which would go stale for the body if they waited for it.
    Head and body have an Adam each, whose moments rest while the other part trains.
    """

    fewest: ClassVar[int] = 1
    body_epochs: float = 1.0
    body_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.body_share <= 1:
            raise ValueError(f"method.body_share is {self.body_share}; it is a share of a round, above 0 and at most 1")

    def players(self, nets: nn.ModuleDict) -> dict[str, Any]:
        return self.halves(nets)

    def phase(self, site: SiteState, k: int) -> str:
        body = max(1, min(ceil(self.body_epochs * site.epoch), int(self.body_share * site.steps)))
        return "head" if k < site.steps - body else "body"

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield site.phase if player == "generator" else player, loss
