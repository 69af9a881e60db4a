"""Finetune adapts FedAvg's model at every site before it serves (Wang et al., arXiv 1910.10252, 2019).

Paper: https://arxiv.org/abs/1910.10252
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class Finetune(FedAvg):
    """This trains as FedAvg does. Whenever a site serves, it takes `steps` local steps from the common model on its own training
    slices, by the same loss with its own discriminators; the result is neither uploaded nor kept.

    `steps`: 50, five epochs of FedBABU's experiments (500 images in batches of 50), which fine-tune FedAvg in the same way; at
    most as many as a round has, so that validation costs no more than training. 0 is FedAvg.

    The optimiser is fresh and runs at `trainer.lr`, not at the round's rate, which ends near 0. Slices are not augmented.
    A newcomer that adapts is fine-tuned by its budget of steps; one that is only welcomed serves the common model.

    What differs from the paper: it tries many ways to adapt and many rates; this is the plain one.

    What differs from the released code: the authors' is not known.
    """

    steps: int = 50  # of fine-tuning before a site serves

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"method.steps is {self.steps}; it must be at least 0")

    def personalise(self, site: SiteState) -> None:
        site.fit(min(self.steps, site.full))

    def adapt(self, site: SiteState) -> None:
        site.fit(site.steps)
