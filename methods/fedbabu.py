"""FedBABU trains the body under a fixed head and fine-tunes both to serve (Oh, Kim and Yun, ICLR 2022).

Paper: https://arxiv.org/abs/2106.06042
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from fedsynth.feed import Batch
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedper import FedPer


@dataclass
class FedBABU(FedPer):
    """In the federation the head, the last `head_stages` stages of the generator, keeps its random start, which is the same at
    every site. The body before it trains and travels. Whenever a site serves, it first fine-tunes body and head on its own
    training slices; the result is neither uploaded nor kept. A newcomer does so by its budget of steps, none when it is welcomed.

    `head_stages`: 1, as in FedPer; the paper's head is the last layer. `steps`: 50 of fine-tuning, which are the paper's five
    epochs (`ft_ep` of the released code) of 500 images in batches of 50; at most as many as a round has, so that validation
    costs no more than training. Both parts are tuned, as in the released analysis, by a fresh optimiser at `trainer.lr`: that
    rate is constant there too and does not follow the schedule. Slices are not augmented.

    What differs from the paper: a head is a stage, and `steps` are counted instead of epochs. Discriminators train in both
    phases, because they are part of the loss.

    What differs from the released code: the same; and the mean is weighted by training slices (there it is not, but the
    sites there have one size).
    """

    fewest: ClassVar[int] = 1
    needs_common_start: ClassVar[bool] = True  # the head
    steps: int = 50  # of fine-tuning before a site serves

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 0:
            raise ValueError(f"method.steps is {self.steps}; it must be at least 0")

    def players(self, nets: nn.ModuleDict) -> dict[str, Any]:
        return self.halves(nets)

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield "body" if player == "generator" else player, loss

    def tune(self, site: SiteState, batch: Batch) -> Pairs:
        """One step of fine-tuning, which moves both parts."""
        for player, loss in super().step(site, batch):
            yield ("head", "body") if player == "generator" else player, loss

    def personalise(self, site: SiteState) -> None:
        site.fit(min(self.steps, site.full), self.tune)

    def adapt(self, site: SiteState) -> None:
        site.fit(site.steps, self.tune)
