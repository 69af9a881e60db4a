"""FedNova: the mean of normalised updates (Wang et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fedsynth.exchange import Message
from fedsynth.server import Server
from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class FedNova(FedAvg):
    """A site's change of the generator is divided by its number of local steps a_k, so that nobody weighs more for taking more
    steps; the server moves by tau * sum_k p_k (w_k - w) / a_k with tau = sum_k p_k a_k, p_k the shares of training slices.

    That is the paper's rule for plain local SGD, applied to the change that any optimiser made: with momentum or Adam the
    paper's a_k would weigh steps by age, which no closed form gives for Adam. It equals FedAvg where sites take as many steps
    (`trainer.local_steps`). What differs: no momentum at the server (the released code's default is none either).
    """

    def upload(self, site: SiteState) -> Message:
        return Message(super().upload(site), steps=site.steps)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        total = sum(float(upload["weight"]) for upload in uploads.values())
        tau = sum(float(upload["weight"]) * float(upload["steps"]) for upload in uploads.values()) / total
        moved = {
            name: Message(upload, model=torch.lerp(server.model, upload.model, tau / float(upload["steps"])))
            for name, upload in uploads.items()
        }
        super().aggregate(server, moved)
