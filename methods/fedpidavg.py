"""FedPIDAvg weighs sites by sizes, and by falls and sums of their costs (Mächler et al., BrainLes at MICCAI 2022).

Paper: https://arxiv.org/abs/2304.12117
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fedsynth.exchange import Message
from fedsynth.server import Server

from .fedcostwavg import FedCostWAvg, shares


@dataclass
class FedPIDAvg(FedCostWAvg):
    """FedCostWAvg as a controller with a proportional, a derivative and an integral part: a site has the weight

        alpha n_k / sum_j n_j + beta d_k / sum_j d_j + gamma m_k / sum_j m_j,   d_k = max(c_k' - c_k, 0)

    where m_k sums the site's costs of this round and of the last five in which it trained, and beta is 1 - alpha - gamma. In the
    first round sizes alone count, and where no cost fell, all d are alike. `alpha` 0.45 and `gamma` 0.1, and so beta 0.45, are
    the paper's. Costs are FedCostWAvg's.

    What differs from the paper: its d_k has no maximum, so that a site whose cost rose has a negative weight, and all weights
    are unbounded where falls and rises cancel. Its other part, to let the sites with the most slices take part less often, is
    left out: who takes part is the same for every method here (`trainer.participation`). A site's absence is treated as by
    FedCostWAvg.

    What differs from the released code: none of the authors' was found. The public code of Fiszer et al. (2026) has the same
    constants, |c_k' - c_k| in place of the maximum, so that a rise counts as a fall, m_k without the cost of this round, and
    validation losses for costs.
    """

    before: ClassVar[int] = 5  # rounds whose costs m_k has besides this one's
    alpha: float = 0.45  # share of a weight that goes by size
    gamma: float = 0.1  # share that goes by the sum of the last costs

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma <= 1 - self.alpha:
            raise ValueError(
                f"method.gamma is {self.gamma}; it must be from 0 to {1 - self.alpha:g}, which method.alpha leaves"
            )

    def weights(self, server: Server, uploads: Mapping[str, Message]) -> dict[str, float]:
        costs = {name: float(upload["cost"]) for name, upload in uploads.items()}
        known = {name: self.costs(server, name) for name in costs}
        sizes = shares({name: float(upload["weight"]) for name, upload in uploads.items()})
        if not any(len(own) for own in known.values()):
            return sizes
        falls = shares(
            {name: max(float(own[-1]) - costs[name], 0.0) if len(own) else 0.0 for name, own in known.items()}
        )
        sums = shares({name: float(own.sum()) + costs[name] for name, own in known.items()})
        beta = 1 - self.alpha - self.gamma
        return {name: self.alpha * sizes[name] + beta * falls[name] + self.gamma * sums[name] for name in costs}

    def costs(self, server: Server, name: str) -> Tensor:
        """The last costs of a site before this round, the newest last."""
        held = server.memory.get(f"costs of {name}")
        return held if isinstance(held, Tensor) else torch.zeros(0, dtype=torch.float64)

    def remember(self, server: Server, costs: Mapping[str, float]) -> None:
        for name, value in costs.items():
            own = self.costs(server, name)
            server.memory[f"costs of {name}"] = torch.cat([own, own.new_tensor([value])])[-self.before :]
