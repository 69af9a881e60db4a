"""U-Net in fastMRI's form (Ronneberger et al. 2015; Zbontar et al. 2018), as FedMRI uses it. The code is ignored.

Pairs of 3x3 convolutions, average pooling, transposed convolutions, skips, LeakyReLU 0.2; here with a tanh at the end
and, under `norm=instance`, an affine normalisation (the reference's has no parameters).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Norm, check_size, initialise, normalisation
from .network import Generator, Network, Role, Stage


def _layer(convolution: nn.Module, channels: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(convolution, normalisation(norm, channels), nn.LeakyReLU(0.2, inplace=True))


def _pair(i: int, o: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(*(_layer(nn.Conv2d(c, o, 3, padding=1, bias=False), o, norm) for c in (i, o)))


class Up(nn.Module):
    """Double the resolution of `[B, C, H, W]`, halve its channels, and merge the skip `[B, C/2, 2H, 2W]`."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        half = channels // 2
        self.rise = _layer(nn.ConvTranspose2d(channels, half, 2, 2, bias=False), half, norm)
        self.merge = _pair(channels, half, norm)

    def forward(self, image: Tensor, skip: Tensor) -> Tensor:
        return self.merge(torch.cat([self.rise(image), skip], 1))


class UNetGenerator(Generator):
    """Sides must be multiples of 2^pools, at least twice that."""

    def __init__(self, width: int, pools: int, norm: Norm) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(pools + 1)]
        self.divisor = 2**pools
        self.downs = nn.ModuleList(_pair(i, o, norm) for i, o in zip([1, *channels], channels[:-1], strict=False))
        self.bottleneck = _pair(channels[-2], channels[-1], norm)
        self.ups = nn.ModuleList(Up(c, norm) for c in reversed(channels[1:]))
        self.head = nn.Sequential(nn.Conv2d(width, 1, 1), nn.Tanh())
        initialise(self)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        check_size(source, self.divisor)
        image, skips = source, []
        for down in self.downs:
            skips.append(down(image))
            image = F.avg_pool2d(skips[-1], 2)
        image = self.bottleneck(image)
        for up in self.ups:
            image = up(image, skips.pop())
        return self.head(image)

    def stages(self) -> list[Stage]:
        return [
            *(Stage(Role.encoder, down) for down in self.downs),
            Stage(Role.bottleneck, self.bottleneck),
            *(Stage(Role.decoder, up) for up in self.ups),
            Stage(Role.head, self.head),
        ]


@dataclass
class UNet(Network):
    """`width` channels at full resolution, doubled at each of `pools` halvings."""

    width: int = 32
    pools: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("pools")

    def generator(self, code_length: int) -> Generator:
        return UNetGenerator(self.width, self.pools, self.norm)
