"""FedALA learns how much of the global model each site takes (Zhang et al., AAAI 2023).

Paper: https://arxiv.org/abs/2212.01197
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch

from fedsynth.exchange import Message, Place
from fedsynth.networks.network import Generator, Role
from fedsynth.site import SiteState

from .fedavg import FedAvg

WINDOW = 10  # the last passes, whose losses show whether the weights have converged, as in the released code
# The weights have converged if the losses' standard deviation is below this: the released 0.1 times L1's 100.
SPREAD = 10.0
MOST_PASSES = 30  # ours: the released code has no limit


@dataclass
class FedALA(FedAvg):
    """A site starts a round from local + (global - local) * W in the top layers and from the global model in the lower ones. W
    in [0, 1], one number for each weight, is learned on the site's own data by W <- clip(W - eta * gradient * (global - local)).

    `eta`: 1, as in the released code. It is tied to the loss's scale, but 0.01 beside 100 L1 would leave W where it starts: after
    W was first learned in `experiment=demo method=fedala where_present.phantom.train=4`, the mean of 1 - W at a site is 0.006
    to 0.2 with 1, and 0.00006 to 0.002 with 0.01; the loss falls in all passes. `sample`: 0.8 of the local data, the paper's
    s, as there. `layers`: the paper's p, here the number of stages from the output, 0 for all; 1, because the two tensors of
    the released command are the weight and bias of the last layer. W starts at 1 and stays at the site. The first time it is
    learned in many passes, until the standard deviation of the last ten losses is below 10, the released 0.1 times L1's 100,
    and later in one. A site that has not trained yet has no local model and takes the global one, as all do in round 1.

    What differs from the paper: the loss is the generator's, LSGAN by the site's own discriminators + 100 L1, in eval mode, so
    that the same weights have the same loss. The sample is of independently drawn batches. Buffers are the global model's.

    What differs from the released code: the same; and the many passes end at the 30th, settled or not. There they have no limit.
    """

    eta: float = 1.0  # learning rate of the weights W
    sample: float = 0.8  # share of the local data on which W is learned
    layers: int = 1  # stages from the output that W mixes; 0 for all

    def __post_init__(self) -> None:
        if not 0 < self.sample <= 1:
            raise ValueError(f"method.sample is {self.sample}; it is a share of the local data, above 0 and at most 1")

    def receive(self, site: SiteState, message: Message) -> None:
        local = site.pack()
        super().receive(site, message)
        if not site.trained:
            return
        generator = site.nets["generator"]
        assert isinstance(generator, Generator)
        depth = sum(role is not Role.conditioning for role, _ in generator.stages())
        lowest = depth - self.layers if self.layers else 0

        def is_top(place: Place) -> bool:
            return round(place.depth * (depth - 1)) >= lowest

        gap = torch.where(site.where(is_top), message.model - local, 0)
        site.memory.setdefault("weights", torch.ones_like(local))
        weights = site.memory.tensor("weights")
        batches = site.draw("weights", ceil(self.sample * site.epoch))
        losses: list[float] = []
        while True:
            for batch in batches:
                site.load(torch.lerp(local, message.model, weights))
                loss = dict(self.objective(site.nets, batch))["generator"]
                weights.sub_(self.eta * site.slope("generator", loss) * gap).clamp_(0, 1)
            losses.append(float(loss.detach()))
            settled = len(losses) > WINDOW and np.std(losses[-WINDOW:]) < SPREAD
            if site.memory.get("settled") or settled or len(losses) == MOST_PASSES:
                break
        site.memory["settled"] = True
        site.load(torch.lerp(local, message.model, weights))
