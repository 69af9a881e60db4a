"""FedAvg with fine-tuning: every site adapts the common model before it serves (Wang et al., arXiv 1910.10252, 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class Finetune(FedAvg):
    """Trains as FedAvg. Whenever a site serves, it takes `steps` local steps from the common model on its own training slices,
    by the same loss with its own discriminators; what they change is never uploaded nor kept.

    `steps`: 50, five epochs of FedBABU's experiments, where FedAvg is fine-tuned so too (500 images in batches of 50); at most
    as many as a round has, so that to validate costs no more than to train. 0 is FedAvg.

    A fresh optimiser at `trainer.lr`, not at the round's rate: that ends near 0, and with it the adaptation would. Slices are
    not augmented. What differs: the paper tries many ways to adapt and rates; this is the plain one.
    """

    steps: int = 50

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"method.steps is {self.steps}; it must be at least 0")

    def personalise(self, site: SiteState) -> None:
        site.fit(min(self.steps, site.steps))
