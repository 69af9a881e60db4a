"""MM-GAN's U-Net makes every contrast from those that are given (Sharma and Hamarneh, IEEE TMI 2020).

It is the U-Net with a channel for each contrast at both ends, like pFLSynth's class for that method; the original is pix2pix's
U-Net of eight halvings. Contrasts that are not given are filled in before the first convolution.
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
    """What takes the place of a contrast that is not given."""

    background = "background"  # -1, which corresponds to zeros in the original's images
    average = "average"  # the mean of the given contrasts
    noise = "noise"  # N(0, 1), the same for all contrasts that are not given


class Imputation(Noisy):
    """Fills in the contrasts that are not given."""

    def __init__(self, fill: Fill) -> None:
        super().__init__()
        self.fill = fill

    def forward(self, images: Tensor, given: Tensor) -> Tensor:
        """The images `[B, C, H, W]`, with channels replaced where `given` `[B, C, 1, 1]` is 0."""
        if self.fill is Fill.background:
            return torch.where(given > 0, images, -1.0)
        if self.fill is Fill.average:
            filling = (images * given).sum(1, keepdim=True) / given.sum(1, keepdim=True)
        else:
            filling = torch.empty_like(images[:, :1]).normal_(generator=self.generator)
        return torch.where(given > 0, images, filling)


class MMGANGenerator(UNetGenerator):
    """A U-Net of many contrasts, which can also make one contrast from one or several."""

    def __init__(
        self, stages: Sequence[Stage], conditioning: Conditioning | None, columns: Columns, imputation: Imputation
    ) -> None:
        super().__init__(stages, conditioning)
        self.columns, self.imputation = columns, imputation

    def translate(self, images: Tensor, given: Tensor, code: Tensor) -> Tensor:
        """All contrasts `[B, C, H, W]` from those where `given`, `[C]` or `[B, C]`, is 1; the others are not read."""
        given = given.expand(images.shape[:2])[:, :, None, None]
        return super().forward(self.imputation(images, given), code)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        here, there = code[:, self.columns.sites :].chunk(2, 1)
        images = self.translate(self.laid_out(source), here, code)
        return (images * there[:, :, None, None]).sum(1, keepdim=True)

    def laid_out(self, source: Tensor) -> Tensor:
        """The source's channels at the places of their contrasts, `[B, C, H, W]`; the other places are not read."""
        places = self.columns.sources
        if not places:
            return source.expand(-1, self.columns.contrasts, -1, -1)
        channels = [places.index(c) if c in places else 0 for c in range(self.columns.contrasts)]
        return torch.stack([source[:, channel] for channel in channels], 1)


class JointPatchGAN(PatchGAN):
    """Judges all contrasts at once: `forward(true, images)`, each `[B, C, H, W]`, gives each patch a score for each contrast,
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
    """`fill`: `background`, as in the original's scripts, whose images are 0 there, and as in pFLSynth's class. The original also
    has the average of the given contrasts and noise, its command line's default, which makes the served images random."""

    fill: Fill = Fill.background  # what takes the place of a contrast that is not given

    def generator(self, columns: Columns) -> Generator:
        stages = unet_stages(self.width, self.pools, self.norm, columns.contrasts, columns.contrasts)
        conditioning = self.conditioning(columns, unet_channels(self.width, self.pools))
        return MMGANGenerator(stages, conditioning, columns, Imputation(self.fill))
