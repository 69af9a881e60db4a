"""Ditto trains a personal model beside the federated one (Li et al., ICML 2021).

Paper: https://arxiv.org/abs/2012.04221
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from fedsynth.feed import Batch
from fedsynth.method import Blueprint
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class Ditto(FedAvg):
    """Every site trains the federated generator as FedAvg does. On the same batches it trains a personal one, which it serves,
    by its own loss plus lam/2 |v - w|^2, where w is the generator that it received.

    `lam`: 100. The released scripts (`run_*_ditto_lam1.sh`) have 1 beside a cross entropy of weight 1; 100 L1 needs 100 times as
    much. The ratio of gradients is 0.3; with 1 it would be 0.04. A personal generator needs discriminators of its own, or `lam`
    0 would not be local training; they and Adam's moments are never pulled. The personal step comes first, as in the released
    code, so that it draws the same noise as local training. This takes twice the gradient evaluations of FedAvg. A site that
    never trained serves the federated generator; as a newcomer that adapts, it starts the personal one from that.

    What differs from the paper: the mean is weighted by training slices (the paper's is plain).

    What differs from the released code: the same; and its switch that chooses `lam` from {0.1, 1, 2} at every step, off by
    default there, is left out.
    """

    lam: float = 100.0  # strength of the pull towards the received generator

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        return nn.ModuleDict({**super().build(blueprint), "personal": super().build(blueprint)})

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for name, loss in self.objective(site.nets["personal"], batch):
            player = f"personal.{name}"
            yield player, loss + self.lam * site.distance(player, site.received)
        yield from super().step(site, batch)

    def personalise(self, site: SiteState) -> None:
        if not site.trained:
            site.load(site.pack(), site.pack_buffers(), "personal")

    def adapt(self, site: SiteState) -> None:
        self.personalise(site)
        super().adapt(site)

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        personal = site.nets["personal"]
        assert isinstance(personal, nn.ModuleDict)
        image: Tensor = personal["generator"](batch.source, batch.code)
        return image
