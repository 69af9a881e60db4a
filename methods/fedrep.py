"""FedRep shares a representation under local heads (Collins et al., ICML 2021).

Paper: https://arxiv.org/abs/2102.07078
"""

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
    """The last `head_stages` (1) stages of the generator, the head, stay at the site; the body before them travels. In a round
    a site first trains its head under the body as received, then the body alone.

    `body_epochs`: passes over the local data that train the body, 1 as in the released code (`local_rep_ep`). The steps before
    them train the head. A round here may be too short for that, and a head that never trains is not the paper's method.
    `body_share`: the most of a round's steps that train the body, which has at least one (half is ours; the paper has no such
    case).

    Conditioning goes with the stage that it follows, so the last stage has none: it shapes the representation that heads
    read. Discriminators move in both phases: they are part of the loss, which would otherwise be out of date for the body.
    Head and body have an Adam each, whose moments rest while the other part trains.

    What differs from the paper: the body takes several steps a round, as in the released code (the paper's algorithm has one),
    and the mean is weighted by training slices (the paper's is plain).

    What differs from the released code: the head's steps are what `body_epochs` leaves of a round; there they fill
    `local_ep` - `local_rep_ep` epochs. Its means are weighted by samples, as here.
    """

    fewest: ClassVar[int] = 1
    body_epochs: float = 1.0  # passes over the local data that train the body
    body_share: float = 0.5  # the most of a round's steps that train the body

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
