"""FedMRI shares the encoder, trained with a contrastive term, under local decoders (Feng et al., IEEE TMI 2023).

Paper: https://arxiv.org/abs/2112.05752
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fedsynth.exchange import Message, Place
from fedsynth.feed import Batch
from fedsynth.networks.network import Role
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class FedMRI(FedAvg):
    """Encoder and bottleneck travel, averaged with the same weight for every site (1/K); decoder, head and conditioning stay.

    From round 2 on, and from the second local step of a round on, the generator's loss has the weighted contrastive term

        beta * |w - w_server|_1 / (sum_j |w - w_j|_1 + 1e-14)

    Here w is the encoder, and the w_j are the encoders that all sites, this one included, uploaded last: the term keeps w close
    to the mean and away from single sites. `beta`: 100, as in the released configuration
    `different_dataset_different_subsample`, where the loss beside it is a mean squared error of weight 1; here it is LSGAN +
    100 L1. The ratio of gradients is 0.5, with quartiles of 0.2 and 1: it varies from step to step and from run to run. 100
    times as much would drown the task, so the published value stays. Every site is sent all other sites' encoders, which count
    in its bytes. A site that has not uploaded yet has no w_j.

    What differs from the paper: it reconstructs, by two such networks, one in k-space and one in image space, whose encoders
    travel both. Synthesis has no k-space, so this is the image network alone, which is also what the released `train.py`
    trains.

    What differs from the released code: it leaves the term out of the first step of every local epoch; here of the first step
    of a round, which is the same where a round is an epoch. All sites take part in every round there.
    """

    published: ClassVar[str] = "unet"
    partial: ClassVar[bool] = True
    equal_weights: ClassVar[bool] = True
    beta: float = 100.0  # weight of the contrastive term

    def travels(self, place: Place) -> bool:
        return super().travels(place) and place.role in (Role.encoder, Role.bottleneck)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        for name, upload in uploads.items():
            server.memory[f"encoder of {name}"] = upload.model

    def download(self, server: Server, name: str) -> Message:
        keys = [f"encoder of {other}" for other in server.names if other != name]
        others = [server.memory.tensor(key) for key in keys if key in server.memory]
        sent = torch.stack(others) if others else server.model.new_zeros(0, len(server.model))
        return Message(super().download(server, name), others=sent, sites=len(server.names))

    def welcome(self, server: Server, name: str) -> Message:
        others = server.model.new_zeros(0, len(server.model))  # it has no encoders to keep away from yet
        return Message(super().download(server, name), others=others, sites=len(server.names))

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        others = message.tensor("others")
        if "encoders" not in site.memory:  # row 0 is its own; the shape is the same in all rounds, whoever has uploaded
            site.memory["encoders"] = others.new_zeros(int(message["sites"]), others.shape[1])
            site.memory["known"] = others.new_zeros(int(message["sites"]))
        site.memory.tensor("encoders")[1 : len(others) + 1] = others
        site.memory.tensor("known")[1 : len(others) + 1] = 1

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        site.memory.tensor("encoders")[0] = message.model
        site.memory.tensor("known")[0] = 1
        return message

    def phase(self, site: SiteState, k: int) -> str:
        return "contrast" if site.round > 1 and k > 0 else ""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            if player == "generator" and site.phase == "contrast":
                loss = loss + self.beta * self.contrast(site)
            yield player, loss

    def contrast(self, site: SiteState) -> Tensor:
        """The encoder's L1 distance to the server's, divided by the sum of those to the encoders that the sites uploaded last."""
        assert site.received is not None
        encoder = torch.cat([parameter.flatten() for parameter, _ in site.along("generator", site.received)])
        near = (encoder - site.received).abs().sum()
        # one site at a time: the differences to all of them at once are as large as K encoders and do not fit the cache
        far = torch.stack([(encoder - sent).abs().sum() for sent in site.memory.tensor("encoders")])
        return near / (far @ site.memory.tensor("known") + 1e-14)
