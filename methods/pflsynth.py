"""pFLSynth personalises federated MRI synthesis (Dalmaz et al., Medical Image Analysis 2024).

Paper: https://doi.org/10.1016/j.media.2024.103121
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import ClassVar

from fedsynth.exchange import Place
from fedsynth.federation import Task
from fedsynth.method import Method
from fedsynth.networks.conditioning import Mapper, PersonalBlock
from fedsynth.networks.network import Role


class Share(Enum):
    """Which stages of the generator travel."""

    late = "late"  # the paper's
    early = "early"  # the others
    all = "all"  # the whole generator, personalisation blocks too
    none = "none"


@dataclass
class PFLSynth(Method):
    """The generator's late stages and the mapper travel; early stages, personalisation blocks and discriminators stay.

    `local_share`: the share of the bottleneck's stages that stay with the encoder. The released code keeps residual blocks 1-5
    of 9 (stages 4-8 of 15); other bottlenecks keep the first ceil(local_share x stages). On a network without conditioning
    only the split by depth is left.

    Ablations: `share`, `local_mapper`, `shared_discriminators`, `one_discriminator` and `adversarial` 0. Those of the network
    are its options: `condition=task` (no site code), `condition=site` (no task code), `adain` and `gate`.

    What differs from the paper: its text was not at hand; figures and abstract agree with this and with the released code.

    What differs from the released code (icon-lab/pFLSynth at 252494d): seven things, of which `experiment=released` switches
    the first six back. Norm: it has batch norm that always runs in training mode, also when it serves, on batches of 1. That
    *is* instance norm, to rounding (`tests/networks/test_personalised.py`), which is the default here and holds for any batch.
    Serving: nothing there is ever put into eval mode, so that dropout, too, stays on and its images are random. Latent: its
    initial weights leave the latent dead, so that the image does not depend on the code (`network.init`). Start: its sites
    start from different weights. Schedule: its rate falls one round earlier, and is 0 in the last round. Intensities: it scales
    each slice to its own minimum and maximum, here a data set scales each volume. Zoom: it enlarges slices by bicubic
    interpolation, here by bilinear, and crops validation and test slices at random, too.
    """

    published: ClassVar[str] = "personalised"
    local_share: float = 5 / 9  # share of the bottleneck's stages that stay with the encoder
    share: Share = Share.late  # which stages of the generator travel
    local_mapper: bool = False  # whether the mapper stays at the site
    shared_discriminators: bool = False  # whether discriminators travel
    one_discriminator: bool = False  # whether all tasks of a site share one discriminator

    def __post_init__(self) -> None:
        if not 0 <= self.local_share <= 1:
            raise ValueError(f"method.local_share is {self.local_share}; it is a share of the stages, from 0 to 1")

    @property
    def partial(self) -> bool:  # type: ignore[override]  # a constant in other methods
        return self.share in (Share.late, Share.early)

    def judge(self, task: Task) -> str:
        return "all tasks" if self.one_discriminator else super().judge(task)

    def travels(self, place: Place) -> bool:
        if place.net == "discriminators":
            return self.shared_discriminators
        if self.share in (Share.all, Share.none):
            return self.share is Share.all
        if place.within(PersonalBlock):
            return False
        if place.within(Mapper):
            return not self.local_mapper
        early = place.role is Role.encoder
        if place.role is Role.bottleneck:
            early = place.index <= ceil(self.local_share * place.count)
        return early is (self.share is Share.early)
