"""FedProx pulls each site towards the model that it received (Li et al., MLSys 2020).

Paper: https://arxiv.org/abs/1812.06127
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.feed import Batch
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class FedProx(FedAvg):
    """Each loss of a site has mu/2 |w - w_server|^2 over what travels added, with w_server as received; the server averages.

    `mu`: 1. The paper has no universal value and tunes it in {0.001, 0.01, 0.1, 0.5, 1}; FedBN's code gives its FedProx 0.01.
    Both stand beside a cross entropy of weight 1: 100 L1 needs 100 times as much. The ratio of gradients is 0.006.

    What differs from the paper: it lets sites stop at different accuracies; here all take their steps of a round, or fewer where
    a scenario lets them straggle. The mean is over all sites that took part, weighted by training slices; the paper draws
    sites by their sizes and takes the plain mean.

    What differs from the released code: it draws sites uniformly and weighs their means by samples, as here.
    """

    mu: float = 1.0  # strength of the pull

    def __post_init__(self) -> None:
        if self.mu < 0:
            raise ValueError(f"method.mu is {self.mu}; it must be at least 0")

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield player, loss + self.mu * site.distance(player, site.received)
