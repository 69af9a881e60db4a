"""FedDyn: federated learning with dynamic regularisation (Acar et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fedsynth.exchange import Message
from fedsynth.feed import Batch
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class FedDyn(FedAvg):
    """A site's generator has two terms beside its loss, so that the sites agree only where the mean of their losses has its
    minimum. With w as received and h_k, which starts at 0 and grows by the site's w_k - w in every round that it trains:

        alpha_k <h_k, w_k> + alpha_k / 2 |w_k - w|^2

    At the minimum -alpha_k h_k is the gradient of the site's own loss: the paper's -<gradient of L_k, w_k> and its server
    state, divided by -alpha. The server keeps the mean h of the h_k over all sites, whoever trained, and sends
    w = the plain mean of the w_k that came + h. Nothing here depends on the optimiser; discriminators have no such terms.

    `alpha`: 0.01 as the released example, for a cross-entropy; it is in the units of the loss's curvature. As there, alpha_k
    is alpha divided by the site's slices over the mean of all sites': then the fixed point is the minimum of the mean loss
    weighted by slices, as FedAvg's. The paper has one alpha and weighs sites alike. For alpha -> 0 this is not FedAvg: h
    does not vanish with it. What differs: w is served, the model that the next round starts from; the released example
    plots the mean of the w_k. That code clips gradients at 10 and decays weights, which are options of the trainer or none.
    """

    alpha: float = 0.01

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
        super().aggregate(server, {name: Message(upload, weight=1) for name, upload in uploads.items()})
        share = len(uploads) / len(server.names)
        server.memory["h"] = server.memory.get("h", torch.zeros_like(before)) + share * (server.model - before)
        server.model = server.model + server.memory.tensor("h")
