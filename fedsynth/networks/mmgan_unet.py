"""MM-GAN's generator (Sharma and Hamarneh, IEEE TMI 2020): every contrast in, every contrast out, whichever are given.

It is the U-Net with a channel for each contrast at both ends, as pFLSynth's class for that method; the original is pix2pix's
U-Net of eight halvings. Those contrasts that are not given are filled in before the first convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from ..federation import Columns
from .blocks import Noisy, initialise
from .conditioning import Conditioning
from .discriminator import PatchGAN
from .network import Generator, Network, Stage
from .unet import UNet, UNetGenerator, unet_channels, unet_stages


class Fill(Enum):
    """What stands in the place of a contrast that is not given."""

    background = "background"  # -1; what zeros are in the original's images
    average = "average"  # the mean of those that are given
    noise = "noise"  # N(0, 1), the same in each such place


class Imputation(Noisy):
    """Fills in contrasts."""

    def __init__(self, fill: Fill) -> None:
        super().__init__()
        self.fill = fill

    def forward(self, images: Tensor, given: Tensor) -> Tensor:
        """`images` `[B, C, H, W]` with its channels replaced where `given` `[B, C, 1, 1]` is 0."""
        if self.fill is Fill.background:
            return torch.where(given > 0, images, -1.0)
        if self.fill is Fill.average:
            filling = (images * given).sum(1, keepdim=True) / given.sum(1, keepdim=True)
        else:
            filling = torch.empty_like(images[:, :1]).normal_(generator=self.generator)
        return torch.where(given > 0, images, filling)


class MMGANGenerator(UNetGenerator):
    """A U-Net of many contrasts that can also be asked for one of one, or of several."""

    def __init__(
        self, stages: Sequence[Stage], conditioning: Conditioning | None, columns: Columns, imputation: Imputation
    ) -> None:
        super().__init__(stages, conditioning)
        self.columns, self.imputation = columns, imputation

    def translate(self, images: Tensor, given: Tensor, code: Tensor) -> Tensor:
        """All contrasts `[B, C, H, W]` from those that `given`, `[C]` or `[B, C]` of 1 and 0, says; the others are not read."""
        given = given.expand(images.shape[:2])[:, :, None, None]
        return super().forward(self.imputation(images, given), code)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        here, there = code[:, self.columns.sites :].chunk(2, 1)
        images = self.translate(self.laid_out(source), here, code)
        return (images * there[:, :, None, None]).sum(1, keepdim=True)

    def laid_out(self, source: Tensor) -> Tensor:
        """The source's channels where these contrasts are, `[B, C, H, W]`; what stands elsewhere is not read."""
        places = self.columns.sources
        if not places:
            return source.expand(-1, self.columns.contrasts, -1, -1)
        channels = [places.index(c) if c in places else 0 for c in range(self.columns.contrasts)]
        return torch.stack([source[:, channel] for channel in channels], 1)


class JointPatchGAN(PatchGAN):
    """Judges all contrasts at once: `forward(true, images)`, each `[B, C, H, W]`, gives each contrast a score a patch,
    `[B, C, H', W']`."""

    def __init__(self, network: Network, contrasts: int) -> None:
        super().__init__(network.discriminator_width, network.discriminator_layers, network.norm)
        first, last = self.body[0], self.body[-1]
        assert isinstance(first, nn.Conv2d)
        assert isinstance(last, nn.Conv2d)
        self.body[0] = nn.Conv2d(2 * contrasts, first.out_channels, 4, 2, 1)
        self.body[-1] = nn.Conv2d(last.in_channels, contrasts, 4, 1, 1)
        initialise(self)


@dataclass
class MMGANUNet(UNet):
    """`fill`: `background` as the original's scripts, whose images are 0 there, and as pFLSynth's class; the original also has
    the average of the given contrasts and, its command line's default, noise, which makes what is served random."""

    fill: Fill = Fill.background

    def generator(self, columns: Columns) -> Generator:
        stages = unet_stages(self.width, self.pools, self.norm, columns.contrasts, columns.contrasts)
        conditioning = self.conditioning(columns, unet_channels(self.width, self.pools))
        return MMGANGenerator(stages, conditioning, columns, Imputation(self.fill))
