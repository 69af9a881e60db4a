"""FedAvgM adds momentum at the server (Hsu, Qi and Brown, arXiv 1909.06335, 2019).

Paper: https://arxiv.org/abs/1909.06335
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fedsynth.exchange import Message
from fedsynth.server import Server

from .fedavg import FedAvg


@dataclass
class FedAvgM(FedAvg):
    """The whole generator travels; the server moves along v <- momentum * v + (w - mean of the sites' models), w <- w - v.

    `momentum`: 0.9, which the paper finds best where the sites' data differ most. Buffers are averaged without momentum.

    What differs from the paper: nothing but what all methods share: `tests/support/oracles/servers.py` says it in plain
    torch, and `tests/methods/test_oracles.py` follows three rounds of both.

    What differs from the released code: the authors released none with the paper. That of Reddi et al.
    (google-research/federated) has the same rule, with a server's learning rate, which is 1 here.
    """

    momentum: float = 0.9  # of the server

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"method.momentum is {self.momentum}; it must be from 0 to below 1")

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        before = server.model
        super().aggregate(server, uploads)
        velocity = (
            server.memory.setdefault("velocity", torch.zeros_like(before)) * self.momentum + before - server.model
        )
        server.memory["velocity"] = velocity
        server.model = before - server.memory.tensor("velocity")
