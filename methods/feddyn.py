"""FedDyn adds a dynamic regulariser to every site's loss (Acar et al., ICLR 2021).

Paper: https://arxiv.org/abs/2111.04263
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from fedsynth.exchange import Message
from fedsynth.feed import Batch
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class FedDyn(FedAvg):
    """A site's generator has two more terms in its loss, so that the sites agree only at the minimum of the mean of their
    losses. Let w be the received model. h_k starts at 0 and grows by the site's w_k - w in every round in which it trains:

        alpha_k <h_k, w_k> + alpha_k / 2 |w_k - w|^2

    At the minimum -alpha_k h_k is the gradient of the site's own loss: h_k is the paper's -<gradient of L_k, w_k> and its
    server state, divided by -alpha. The server keeps the mean h of the h_k over all sites, absent ones included, and sends
    w = the plain mean of the w_k that arrived + h. Nothing here depends on the optimiser. Discriminators have no such terms.

    `alpha`: 1. The released example has 0.01 beside a cross entropy of weight 1; alpha's unit is that of the loss's curvature,
    so 100 L1 needs 100 times as much. The ratio of gradients, of both terms together, is 0.04; with 0.01 it would be 0.0006,
    and h would grow with nothing to hold it. As there, alpha_k is alpha divided by the ratio of the site's slices to the mean
    of all sites': the fixed point is then the minimum of the mean loss weighted by slices, as FedAvg's. For alpha -> 0 this is
    not FedAvg, because h does not vanish.

    What differs from the paper: it has one alpha for all sites, which is alpha_k where all have as many slices.

    What differs from the released code: w, from which the next round starts, is served; its example plots the mean of the w_k.
    It clips gradients at 10 and decays weights; here the trainer's options decide.
    """

    equal_weights: ClassVar[bool] = True
    alpha: float = 1.0  # strength of the regulariser

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"method.alpha is {self.alpha}; it must be above 0")

    def download(self, server: Server, name: str) -> Message:
        mean = sum(server.samples.values()) / len(server.samples)
        return Message(super().download(server, name), alpha=self.alpha * mean / server.samples.get(name, mean))

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        site.memory["alpha"] = message["alpha"]
        site.memory.setdefault("h", torch.zeros_like(message.model))

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            pull = site.inner(player, site.memory.tensor("h")) + site.distance(player, site.received)
            yield player, loss + site.memory["alpha"] * pull

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        assert site.received is not None
        site.memory.tensor("h").add_(message.model - site.received)
        return message

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        before = server.model
        super().aggregate(server, uploads)
        share = len(uploads) / len(server.names)
        server.memory["h"] = server.memory.get("h", torch.zeros_like(before)) + share * (server.model - before)
        server.model = server.model + server.memory.tensor("h")
