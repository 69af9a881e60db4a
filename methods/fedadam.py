"""FedAdam uses Adam at the server (Reddi et al., ICLR 2021).

Paper: https://arxiv.org/abs/2003.00295
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedsynth.exchange import Message
from fedsynth.server import Server

from .fedavg import FedAvg


@dataclass
class FedAdam(FedAvg):
    """The whole generator travels. The server takes the mean change of the sites' models, D, as a gradient that points uphill:

        m <- beta1 m + (1 - beta1) D;  v <- beta2 v + (1 - beta2) D^2;  w <- w + eta m / (sqrt(v) + tau)

    This is the paper's algorithm 2, without bias correction and with v starting at tau^2. `beta1` 0.9, `beta2` 0.99 and `tau`
    1e-3 are what the paper's experiments fix or recommend. `eta`: 0.01, FLamby's default (Flower has 0.1; the paper tunes it
    by powers of ten). Published rates come from classifiers trained by SGD; here a weight moves by up to eta in the first
    round, whatever the sites' optimiser, while a generator's weights start at about 0.02: so tune `eta`.

    What differs from the paper: D is weighted by training slices (in algorithm 2 it is the plain mean). Buffers are averaged.
    Sites use the trainer's optimiser (the paper has SGD).

    What differs from the released code (google-research/federated, for TensorFlow): its server is Keras' Adam, with bias
    correction, beta2 0.999 and v starting at 0. Its D is weighted by samples, as here.
    """

    beta1: float = 0.9  # decay of the server's momentum m
    beta2: float = 0.99  # decay of its second moment v
    tau: float = 1e-3  # what is added to the root of v
    eta: float = 0.01  # the server's learning rate

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"method.{name} is {getattr(self, name)}; it must be from 0 to below 1")
        for name in ("tau", "eta"):
            if getattr(self, name) <= 0:
                raise ValueError(f"method.{name} is {getattr(self, name)}; it must be above 0")

    def second_moment(self, v: Tensor, change: Tensor) -> Tensor:
        """The server's new v."""
        return self.beta2 * v + (1 - self.beta2) * change.square()

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        before, memory = server.model, server.memory
        super().aggregate(server, uploads)
        change = server.model - before
        memory.setdefault("m", torch.zeros_like(before))
        memory.setdefault("v", torch.full_like(before, self.tau**2))
        memory["m"] = self.beta1 * memory.tensor("m") + (1 - self.beta1) * change
        memory["v"] = self.second_moment(memory.tensor("v"), change)
        server.model = before + self.eta * memory.tensor("m") / (memory.tensor("v").sqrt() + self.tau)
