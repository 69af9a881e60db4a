"""pFLSynth's released FedBN gives all sites one site's normalisation (icon-lab/pFLSynth at 252494d, 2024).

Paper: https://doi.org/10.1016/j.media.2024.103121
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from fedsynth.exchange import Message, Place
from fedsynth.server import Server

from .fedavg import FedAvg
from .fedbn import NORMS


@dataclass
class FedBNReleased(FedAvg):
    """This is not a method to compare with. It shows what published numbers of such a FedBN mean: that code prepares a state
    for every site and then loads the first site's into all, so that its normalisation overwrites everybody's.

    Everything travels and is averaged with equal weights, but the affine parameters and running statistics of normalisation
    layers are those of one site, as long as it takes part. `norms_of`: that site, the first in the released order, IXI.

    What differs from the paper: FedBN keeps each site's own norms, as the method `fedbn` does; nothing of that is left here.

    What differs from the released code: the norms' rule is the same, and the mean has equal weights. The rest is the trainer's:
    see `pflsynth`, and `experiment=released` for what switches it.
    """

    published: ClassVar[str] = "resnet"
    equal_weights: ClassVar[bool] = True
    norms_of: str = "ixi"  # the site whose normalisation all get

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        if self.norms_of in uploads:
            norms = server.plan.model.where(is_norm, server.model.device)
            server.model = torch.where(norms, uploads[self.norms_of].model, server.model)
            server.buffers = uploads[self.norms_of].buffers


def is_norm(place: Place) -> bool:
    return isinstance(place.owner, NORMS)
