"""FedAMP sends each site a mixture of the models that resemble its own (Huang et al., AAAI 2021).

Paper: https://arxiv.org/abs/2007.03797
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from fedsynth.exchange import Message, Place
from fedsynth.feed import Batch
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class FedAMP(FedAvg):
    """Every site keeps a model of its own, which is never overwritten. From the models that the sites uploaded last the server
    makes a cloud model for each site, which trains on its loss plus lam / (2 alpha) |w_k - u_k|^2:

        u_k = w_k + sum_j xi_kj (w_j - w_k),    xi_kj = alpha / K exp(-|w_k - w_j|^2 / (N sigma))

    This is a step on the paper's attention A(x) = 1 - exp(-x / sigma), where x is the squared distance; the site's own model
    has the weight that the xi_kj leave of 1. In the paper sigma divides x itself, which grows with the number N of travelling
    parameters: with one sigma for all sizes, no two sites of a large network would be similar. So sigma is per parameter
    here. The paper's sigma is N sigma, its alpha_k is alpha N sigma / K, its lambda is lam N sigma / K; nothing else changes.

    `sigma`: 1e-4, so that a root mean square difference of 0.01 a parameter has 1/e of the full weight. At the trainer's
    learning rate Adam takes two sites 0.002 apart in 60 steps and 0.005 in 360 (measured on a small network). Libraries set the
    paper's sigma, whatever N is: 1 in PFLlib, 100 in fling's CIFAR-10 example. `alpha`: 1, at which sites that agree weigh 1/K
    each, where K is the number of all sites; at most 1, so that no weight is negative. `lam`: 100. PFLlib has 1 beside a cross
    entropy of weight 1; 100 L1 needs 100 times as much. The ratio of gradients is 0.3; with 1 it would be 0.006. For sigma ->
    infinity and alpha 1, u_k is the plain mean of the models; for sigma -> 0 it is w_k.

    A site that never trained takes the mean model, which in round 1 is the common start. An absent site counts with its
    last upload. Buffers stay.

    What differs from the paper: a round's steps stand for its argmin. Sigma is per parameter, and alpha is constant.

    What differs from the released code: the authors' is not known. Of two libraries, PFLlib pulls by the distance itself, where
    the paper and this have its square; fling multiplies alpha by 0.1 every 30 rounds.
    """

    averages: ClassVar[bool] = False  # but for a site that has not trained yet
    sigma: float = 1e-4  # mean square difference of two models at which attention falls to 1/e
    alpha: float = 1.0  # step on the attention
    lam: float = 100.0  # strength of the pull towards the cloud model

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise ValueError(f"method.sigma is {self.sigma}; it must be above 0")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"method.alpha is {self.alpha}; it must be above 0 and at most 1")
        if self.lam < 0:
            raise ValueError(f"method.lam is {self.lam}; it must be at least 0")

    def travels(self, place: Place) -> bool:
        return super().travels(place) and not place.is_buffer

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        for name, upload in uploads.items():
            server.memory[f"model of {name}"] = upload.model

    def download(self, server: Server, name: str) -> Message:
        models = {other: key for other in server.names if (key := f"model of {other}") in server.memory}
        if name not in models:
            return super().download(server, name)
        own = server.memory.tensor(models.pop(name))
        cloud = own.clone()
        for key in models.values():
            gap = server.memory.tensor(key) - own
            cloud += self.alpha / len(server.names) * torch.exp(-gap.square().mean() / self.sigma) * gap
        return Message(model=cloud, buffers=server.buffers)

    def receive(self, site: SiteState, message: Message) -> None:
        if not site.trained:
            super().receive(site, message)

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield player, loss + self.lam / self.alpha * site.distance(player, site.received)
