"""U-Net is fastMRI's, which FedMRI uses; by default it ignores the code (Zbontar et al. 2018).

Ronneberger et al. (2015) introduced it. It has pairs of 3x3 convolutions, average pooling, transposed convolutions, skips and
LeakyReLU 0.2. Here a tanh ends it, and under `norm=instance` the normalisation is affine (the reference's has no parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..federation import Columns
from .blocks import Norm, check_size, initialise, normalisation
from .network import Generator, Network, Role, Stage
from .staged import StagedGenerator


def _layer(convolution: nn.Module, channels: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(convolution, normalisation(norm, channels), nn.LeakyReLU(0.2, inplace=True))


def _pair(i: int, o: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(*(_layer(nn.Conv2d(c, o, 3, padding=1, bias=False), o, norm) for c in (i, o)))


class Up(nn.Module):
    """Doubles the resolution of `[B, C, H, W]`, halves its channels, and merges the skip `[B, C/2, 2H, 2W]`."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        half = channels // 2
        self.rise = _layer(nn.ConvTranspose2d(channels, half, 2, 2, bias=False), half, norm)
        self.merge = _pair(channels, half, norm)

    def forward(self, image: Tensor, skip: Tensor) -> Tensor:
        return self.merge(torch.cat([self.rise(image), skip], 1))


def unet_channels(width: int, pools: int) -> list[int]:
    """The number of channels that each stage but the last gives out."""
    rising = [width * 2**level for level in range(pools + 1)]
    return rising + rising[-2::-1]


def unet_stages(width: int, pools: int, norm: Norm, sources: int = 1, images: int = 1) -> list[Stage]:
    """`pools` stages that encode, the bottleneck, as many that decode, and the head: `sources` channels in, `images` out."""
    rising = unet_channels(width, pools)[: pools + 1]
    stages = [
        *(Stage(Role.encoder, _pair(i, o, norm)) for i, o in pairwise([sources, *rising[:-1]])),
        Stage(Role.bottleneck, _pair(rising[-2], rising[-1], norm)),
        *(Stage(Role.decoder, Up(c, norm)) for c in reversed(rising[1:])),
        Stage(Role.head, nn.Sequential(nn.Conv2d(width, images, 1), nn.Tanh())),
    ]
    for _, module in stages:
        initialise(module)
    return stages


class UNetGenerator(StagedGenerator):
    """Sides must be multiples of 2^pools and at least twice that."""

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        pools = len(self.backbone) // 2 - 1
        check_size(source, 2**pools)
        latent, image, skips = self.latent(code), source, []
        for k in range(len(self.backbone)):
            if k < pools:
                skips.append(self.through(k, latent, image))
                image = F.avg_pool2d(skips[-1], 2)
            elif pools < k <= 2 * pools:
                image = self.through(k, latent, image, skips.pop())
            else:  # bottleneck and head
                image = self.through(k, latent, image)
        return image


@dataclass
class UNet(Network):
    """The published sizes: four halvings from 32 channels."""

    width: int = 32  # channels at full resolution, doubled at each halving
    pools: int = 4  # halvings

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("pools")

    def generator(self, columns: Columns) -> Generator:
        stages = unet_stages(self.width, self.pools, self.norm, columns.channels)
        return UNetGenerator(stages, self.conditioning(columns, unet_channels(self.width, self.pools)))
