"""FedBABU: the body learns under a head that never does, until it serves (Oh, Kim and Yun, ICLR 2022)."""

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
    """In the federation the last `head_stages` stages of the generator, the head, keep their random start, the same at every
    site; the body before them trains and travels. Whenever a site serves, it fine-tunes body and head on its own training
    slices from there; what that changes is never uploaded nor kept.

    `head_stages`: 1, as in FedPer; the paper's head is the last layer. `steps`: 50 of fine-tuning, the paper's five epochs
    (`ft_ep` of the released code) of 500 images in batches of 50; at most as many as a round has, so that to validate costs no
    more than to train. Both parts are tuned, as in the released analysis, with a fresh optimiser at `trainer.lr`: that rate
    is a constant there too, not the schedule's. Slices are not augmented.

    What differs: the mean is weighted by training slices (the code's is not; its sites are of one size); discriminators train
    in both phases, as part of the loss.
    """

    fewest: ClassVar[int] = 1
    steps: int = 50

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
        """One step of fine-tuning: of both parts."""
        for player, loss in super().step(site, batch):
            yield ("head", "body") if player == "generator" else player, loss

    def personalise(self, site: SiteState) -> None:
        site.fit(min(self.steps, site.steps), self.tune)
