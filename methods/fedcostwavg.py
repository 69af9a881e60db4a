"""FedCostWAvg weighs sites by their sizes and by how much their costs fell (Mächler et al., BrainLes at MICCAI 2021).

Paper: https://arxiv.org/abs/2111.08649
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from fedsynth.exchange import Message
from fedsynth.losses import l1
from fedsynth.server import Server
from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class FedCostWAvg(FedAvg):
    """The whole generator travels. Let c_k be the cost of the model that site k has trained, c_k' its cost when the site trained
    last, and n_k its training slices. The site has the weight

        alpha n_k / sum_j n_j + (1 - alpha) r_k / sum_j r_j,   r_k = c_k' / c_k

    In the first round, where nobody has a c_k', sizes alone count. `alpha`: 0.5, as in the paper.

    The cost is the L1 loss of all tasks on all training slices, in eval mode, not augmented: a forward pass each, and one number
    more to send. LSGAN is no part of it, since discriminators move from round to round. Buffers have the same weights.

    What differs from the paper: its cost is that of a segmentation, and all its sites take part in every round; here a site that
    was absent keeps the cost of its last training, and one that comes later than others has r_k = 1 at first.

    What differs from the released code: none of the authors' was found. The public code of Fiszer et al. (Biomedical Signal
    Processing and Control 2026) has the same rule and `alpha`. Its cost is the validation loss; here validation chooses the
    round and nothing else.
    """

    weighs: ClassVar[bool] = True
    alpha: float = 0.5  # share of a weight that goes by size

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"method.alpha is {self.alpha}; it must be from 0 to 1")

    def upload(self, site: SiteState) -> Message:
        return Message(super().upload(site), cost=cost(site))

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        weights = self.weights(server, uploads)
        server.model, server.buffers = (server.mean(uploads, key, weights) for key in ("model", "buffers"))
        self.remember(server, {name: float(upload["cost"]) for name, upload in uploads.items()})

    def weights(self, server: Server, uploads: Mapping[str, Message]) -> dict[str, float]:
        """Name -> the site's weight in the mean; they sum to 1."""
        costs = {name: float(upload["cost"]) for name, upload in uploads.items()}
        before = {name: float(server.memory[f"cost of {name}"]) for name in costs if f"cost of {name}" in server.memory}
        sizes = shares({name: float(upload["weight"]) for name, upload in uploads.items()})
        if not before:
            return sizes
        falls = shares({name: before.get(name, cost) / cost for name, cost in costs.items()})
        return {name: self.alpha * sizes[name] + (1 - self.alpha) * falls[name] for name in costs}

    def remember(self, server: Server, costs: Mapping[str, float]) -> None:
        """Keep the costs of a round."""
        for name, value in costs.items():
            server.memory[f"cost of {name}"] = value


def cost(site: SiteState) -> float:
    """The mean L1 loss of a site's generator over its tasks and training slices."""
    sums, count = [], 0
    with torch.no_grad():
        for feed in site.feeds.values():
            for task in feed.tasks:
                for scored in feed.score(task, "train"):
                    image = site.nets["generator"](scored.batch.source, scored.batch.code)
                    sums.append(l1(image, scored.batch.target).double() * len(image))
                    count += len(image)
    return float(torch.stack(sums).sum()) / count


def shares(values: Mapping[str, float]) -> dict[str, float]:
    """The values divided by their sum; equal shares where all are 0."""
    total = sum(values.values())
    return {name: value / total if total else 1 / len(values) for name, value in values.items()}
