"""pFLSynth: personalised federated MRI synthesis (Dalmaz et al., Medical Image Analysis 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from fedsynth.exchange import Place
from fedsynth.method import Method
from fedsynth.networks.conditioning import PersonalBlock
from fedsynth.networks.network import Role


@dataclass
class PFLSynth(Method):
    """The generator's late stages and the mapper travel; early stages, personalisation blocks and discriminators stay.

    `local_share` is the share of the bottleneck's stages that stay with the encoder: the released code keeps residual
    blocks 1-5 of 9 (stages 4-8 of 15). Other bottlenecks keep the first ceil(local_share x stages). On a network without
    conditioning only the split by depth is left.
    """

    published: ClassVar[str] = "personalised"
    partial: ClassVar[bool] = True
    local_share: float = 5 / 9

    def travels(self, place: Place) -> bool:
        if place.net != "generator" or place.within(PersonalBlock):
            return False
        if place.role is Role.bottleneck:
            return place.index > ceil(self.local_share * place.count)
        return place.role is not Role.encoder
