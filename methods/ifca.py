"""IFCA clusters the sites and trains a model for each cluster (Ghosh et al., NeurIPS 2020).

Paper: https://arxiv.org/abs/2006.04088
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedsynth.exchange import Message
from fedsynth.server import Server
from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class IFCA(FedAvg):
    """The server holds k models and sends all of them to a site, which trains the one with the lowest loss on its own data. Each
    model is averaged over the sites that chose it, and a model that no site chose does not change.

    `clusters`: 2, the paper's k, which it chooses by experiment: 2 and 4 on rotated images, 3 on FEMNIST. The models start from
    different draws of the weights, the first from the draw that all methods share. The loss is the generator's, LSGAN by the
    site's own discriminators + 100 L1, in eval mode, over as many batches as its training slices fill, the same for every
    model. A site's discriminators and Adam's moments stay with it when it changes its cluster.

    What differs from the paper: this is its model averaging, weighted by training slices within a cluster (the paper's is plain);
    its gradient averaging, and its experiment that shares the first layers among clusters, are left out.

    What differs from the released code: it draws the initial models again until the first choices are balanced, and makes the
    optimiser anew; here the first draw stands.
    """

    clusters: int = 2  # how many models there are

    def __post_init__(self) -> None:
        if self.clusters < 1:
            raise ValueError(f"method.clusters is {self.clusters}; it must be at least 1")

    def models(self, server: Server) -> tuple[Tensor, Tensor]:
        """The clusters' models `[k, N]` and buffers `[k, M]`."""
        if "models" in server.memory:
            return server.memory.tensor("models"), server.memory.tensor("buffers")
        models, buffers = zip(*(server.fresh(variant) for variant in range(self.clusters)), strict=True)
        return torch.stack(models), torch.stack(buffers)

    def download(self, server: Server, name: str) -> Message:
        models, buffers = self.models(server)
        return Message(model=models, buffers=buffers)

    def receive(self, site: SiteState, message: Message) -> None:
        batches = site.draw("choice", site.epoch)
        losses = []
        for model, buffers in zip(message.model, message.buffers, strict=True):
            site.load(model, buffers)
            with torch.no_grad():
                losses.append(
                    torch.stack([dict(self.objective(site.nets, batch))["generator"] for batch in batches]).mean()
                )
        choice = int(torch.stack(losses).argmin())
        site.memory["cluster"] = choice
        site.received = message.model[choice]
        site.load(message.model[choice], message.buffers[choice])

    def upload(self, site: SiteState) -> Message:
        return Message(super().upload(site), cluster=site.memory["cluster"])

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        models, buffers = (stack.clone() for stack in self.models(server))
        for cluster in range(self.clusters):
            chosen = {name: upload for name, upload in uploads.items() if upload["cluster"] == cluster}
            if chosen:
                server.model, server.buffers = models[cluster], buffers[cluster]
                super().aggregate(server, chosen)
                models[cluster], buffers[cluster] = server.model, server.buffers
        server.memory["models"], server.memory["buffers"] = models, buffers
        server.model, server.buffers = models[0], buffers[0]
