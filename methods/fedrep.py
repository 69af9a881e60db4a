"""FedRep: a shared representation under local heads (Collins et al., ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

from torch import nn

from fedsynth.exchange import Place
from fedsynth.feed import Batch
from fedsynth.networks.network import Generator, Role
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class FedRep(FedAvg):
    """The generator's head stages stay at the site, all before them, the body, travels; in a round a site trains its head
    first, with the body as it came, then the body alone.

    `body_epochs`: passes over the local data that train the body, 1 in the released code (`local_rep_ep`); the steps before
    them train the head. A round here may be no longer than that, and a head that never trains is not the paper's method, so
    the body gets at most `body_share` of a round's steps, and at least one step (half is ours; the paper has no such case).

    Conditioning goes with the body: it shapes the representation that heads read, and the code tells the sites apart. The
    discriminators move in both phases: they are part of the loss, which would go stale for the body if they waited for it.
    Head and body have an Adam each, whose moments rest while the other part trains.
    """

    partial: ClassVar[bool] = True
    body_epochs: float = 1.0
    body_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.body_share <= 1:
            raise ValueError(f"method.body_share is {self.body_share}; it is a share of a round, above 0 and at most 1")

    def players(self, nets: nn.ModuleDict) -> dict[str, Any]:
        players = super().players(nets)
        generator, whole = nets["generator"], players.pop("generator")
        assert isinstance(generator, Generator)
        heads = [module for role, module in generator.stages() if role is Role.head]
        local = {id(parameter) for head in heads for parameter in head.parameters()}
        players["head"] = [parameter for parameter in whole if id(parameter) in local]
        players["body"] = [parameter for parameter in whole if id(parameter) not in local]
        return players

    def phase(self, site: SiteState, k: int) -> str:
        body = max(1, min(ceil(self.body_epochs * site.epoch), int(self.body_share * site.steps)))
        return "head" if k < site.steps - body else "body"

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield site.phase if player == "generator" else player, loss

    def travels(self, place: Place) -> bool:
        return super().travels(place) and place.role is not Role.head
