"""FedExP extrapolates the server's step where sites pull apart (Jhunjhunwala, Wang and Joshi, ICLR 2023).

Paper: https://arxiv.org/abs/2301.09604
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fedsynth.exchange import Message
from fedsynth.server import Server
from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class FedExP(FedAvg):
    """The whole generator travels. With D_k the change of site k's model in a round, p_k its share of the training slices and
    D = sum_k p_k D_k, the server moves by eta D:

        eta = max(1, sum_k p_k |D_k|^2 / (2 (|D|^2 + epsilon)))

    Where the changes of K sites of one size are as long and orthogonal, eta is K / 2: with few sites it is seldom above 1.

    A site serves the mean of the server's last two models, which the paper evaluates, as single ones oscillate: it has both,
    as it began the round with one. One that was absent from the last round serves the last alone, and so does everyone after
    round 1, before which nothing was learnt. Buffers are averaged.

    `epsilon`: 1e-3, as the released code has for CIFAR-10, CIFAR-100 and CINIC-10; its unit is a squared length of D, and the
    paper tunes it by powers of ten.

    What differs from the paper: its means over sites are plain; here they are FedAvg's, weighted by slices, as in the released
    code. Under a robust `trainer.server_rule`, D is what the rule gives, and the |D_k| are those of all uploads.

    What differs from the released code: that multiplies epsilon by the number of sites in the round, and the paper does not.
    """

    epsilon: float = 1e-3  # keeps eta small where D is

    def __post_init__(self) -> None:
        if self.epsilon < 0:
            raise ValueError(f"method.epsilon is {self.epsilon}; it must be at least 0")

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        before = server.model
        lengths = torch.stack([(upload.model - server.began(name)).square().sum() for name, upload in uploads.items()])
        weights = lengths.new_tensor([float(upload["weight"]) for upload in uploads.values()])
        super().aggregate(server, uploads)
        change = server.model - before
        eta = float((weights @ lengths) / weights.sum() / (2 * (change.square().sum() + self.epsilon)))
        if eta > 1:
            server.model = before + eta * change

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        if site.at_work and site.round > 1:  # in round 1 it may be the site's own start, which no server ever had
            site.memory["began"], site.memory["round"] = message.model, torch.tensor(site.round)

    def personalise(self, site: SiteState) -> None:
        if "began" in site.memory and int(site.memory["round"]) == site.round:
            site.load((site.memory.tensor("began") + site.pack()) / 2)
