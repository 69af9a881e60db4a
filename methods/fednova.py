"""FedNova averages updates that are normalised by their numbers of steps (Wang et al., NeurIPS 2020).

Paper: https://arxiv.org/abs/2007.07481
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedsynth.exchange import Message
from fedsynth.server import Server
from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class FedNova(FedAvg):
    """A site's change of the generator is divided by its number of local steps a_k, so that no site weighs more because it takes
    more steps. The server moves by tau * sum_k p_k (w_k - w) / a_k, with the shares of training slices p_k and tau =
    sum_k p_k a_k.

    This is the paper's rule for plain local SGD, applied to the change that any optimiser made: with momentum the paper's a_k
    would weigh steps by age, and for Adam there is no closed form. It equals FedAvg where all sites take as many steps
    (`trainer.local_steps`).

    What differs from the paper: the rule for plain SGD takes the change of any optimiser, as said. Buffers are averaged.

    What differs from the released code: its options are left out: local momentum, a proximal term and momentum at the server,
    all 0 by default there.
    """

    def upload(self, site: SiteState) -> Message:
        return Message(super().upload(site), steps=site.steps)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        total = sum(float(upload["weight"]) for upload in uploads.values())
        tau = sum(float(upload["weight"]) * float(upload["steps"]) for upload in uploads.values()) / total
        moved = {}
        for name, upload in uploads.items():
            began = server.began(name)
            model = began.lerp(upload.model, tau / float(upload["steps"])) + (server.model - began)
            moved[name] = Message(upload, model=model)
        super().aggregate(server, moved)
