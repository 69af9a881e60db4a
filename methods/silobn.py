"""SiloBN keeps running statistics at the site (Andreux et al., DART workshop at MICCAI 2020).

Paper: https://arxiv.org/abs/2008.07424
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from fedsynth.exchange import ContractError, Place
from fedsynth.method import Blueprint
from fedsynth.networks.network import Norm
from fedsynth.site import SiteState

from .fedavg import FedAvg

PASSES = 64  # batches from which a site that never trained takes its statistics: 0.1 % of the initial ones is left


@dataclass
class SiloBN(FedAvg):
    """All parameters travel, those of batch norm too; its running mean and variance stay. The server takes FedAvg's mean.

    A site that never trained has no statistics. It takes them from its own training slices and changes nothing else, as the
    paper does for a new centre (AdaBN, Li et al. 2016). On a network without running statistics this would be FedAvg under
    another name, so it is refused. It has no options.

    What differs from the paper: nothing but what all methods share: `tests/support/oracles/averages.py` says it in plain
    torch, and `tests/methods/test_oracles.py` follows three rounds of both.

    What differs from the released code: the authors' is not known.
    """

    needs_norm: ClassVar[Norm | None] = Norm.batch

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        nets = super().build(blueprint)
        if not any(buffer.is_floating_point() for buffer in nets["generator"].buffers()):
            raise ContractError(
                "method SiloBN keeps running statistics at the site, but the generator of the network "
                f"{type(blueprint.network).__name__} has none; set network.norm=batch"
            )
        return nets

    def travels(self, place: Place) -> bool:
        return super().travels(place) and not place.is_buffer

    def personalise(self, site: SiteState) -> None:
        if not site.trained:
            with site.training(True), torch.no_grad():
                for batch in site.draw("statistics", PASSES):
                    site.nets["generator"](batch.source, batch.code)

    def adapt(self, site: SiteState) -> None:
        self.personalise(site)
        super().adapt(site)
