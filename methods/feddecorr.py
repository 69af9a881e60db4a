"""FedDecorr keeps features from collapsing into few dimensions (Shi et al., ICLR 2023).

Paper: https://arxiv.org/abs/2210.00226
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fedsynth.feed import Batch
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg
from .moon import observe_bottleneck


@dataclass
class FedDecorr(FedAvg):
    """The generator's loss has a term added that is small where its features are uncorrelated: with K the correlation matrix
    `[C, C]` of the features z,

        100 beta |K|_F^2 / C^2

    z are the vectors of the last bottleneck stage, one for each of its pixels and each slice of the batch. `beta`: 0.1, which
    the paper recommends for its data and the released code has. It stands beside a cross entropy there, and beside 100 L1 here,
    so it is relative to L1's weight, as FL-MRCM's and PRR-FL's terms are. The ratio of gradients is 0.1.

    What differs from the paper: it takes one vector an image, before the classifier. Averaged over pixels, a batch of one, the
    default here, would have no correlations at all, so the pixels are the samples.

    What differs from the released code: that leaves out K's diagonal, which is constant, and does not divide z^T z by the
    number of samples before it squares, which makes the term as many times larger as there are samples (64 of CIFAR's): there,
    beta 0.1 weighs the mean squared correlation by 6.4.
    """

    beta: float = 0.1  # weight of the term, relative to L1's

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise ValueError(f"method.beta is {self.beta}; it must be at least 0")

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        seen: list[Tensor] = []

        def generator(*given: Tensor) -> Tensor:
            image, features = observe_bottleneck(self, site.nets["generator"], by_pixel, *given)
            seen.append(features)
            return image

        for player, loss in self.objective({**site.nets, "generator": generator}, batch):
            yield player, loss + self.l1 * self.beta * correlation(seen[0]) if player == "generator" else loss


def by_pixel(maps: Tensor) -> Tensor:
    """Feature maps `[B, C, H, W]` as vectors `[B H W, C]`."""
    return maps.float().movedim(1, -1).flatten(0, -2)


def correlation(features: Tensor) -> Tensor:
    """The mean squared entry of the correlation matrix of features `[N, C]`."""
    centred = features - features.mean(0)
    z = centred / (features.var(0) + 1e-8).sqrt()
    return (z.T @ z / (len(z) - 1)).square().mean()
