"""FedSAM looks for flat minima at the sites (Qu et al., ICML 2022; Caldarola, Caputo and Ciccone, ECCV 2022).

Papers: https://arxiv.org/abs/2206.02618, https://arxiv.org/abs/2203.11834
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.feed import Batch
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg
from .perfedavg import moved


@dataclass
class FedSAM(FedAvg):
    """Sites train their generators w by sharpness-aware minimisation, and the server averages: the optimiser takes the gradient
    of the loss f not at w but where f rises most within a ball,

        v = grad f(w + rho g / |g|),   g = grad f(w)

    with both gradients from one batch, so that a step costs two. `rho`: 0.1, the value of FedSAM in the released commands for
    CIFAR-10 (Caldarola et al.). It is a length in the space of weights and does not depend on the loss's scale.

    What differs from the papers: discriminators move by their own losses, without a look ahead, and stay at their sites. In the
    papers SGD takes v; here the trainer's optimiser does, as it takes any gradient. Dropout draws anew for the second gradient,
    and batch norm's running statistics see both passes, as in the released code.

    What differs from the released code: it has the same rule, with SGD and weight decay. Its options, ASAM and the averaging of
    weights over rounds, are left out.
    """

    rho: float = 0.1  # radius of the ball

    def __post_init__(self) -> None:
        if self.rho < 0:
            raise ValueError(f"method.rho is {self.rho}; it must be at least 0")

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in self.objective(site.nets, batch):
            if player == "generator":
                g = site.slope(player, loss)
                ahead = moved(site, self.rho * g / g.norm().clamp_min(1e-12))
                loss = dict(self.objective(ahead, batch))["generator"]
            yield player, loss
