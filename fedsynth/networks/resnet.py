"""ResNet is the residual network that pFLSynth personalises; by default it ignores the code (Johnson et al. 2016).

It is pix2pix's ResNet-9: two strided convolutions, residual blocks, two transposed convolutions, and no skips between encoder
and decoder. The released code's second set of norms is never run, and its learned 256x256 bias map ties it to one image size:
both are left out, and the last convolution has a bias of one number instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..federation import Columns
from .blocks import Norm, ReflectionPad, ResidualBlock, check_size, initialise, normalisation
from .network import Generator, Network, Role, Stage
from .staged import StagedGenerator

DIVISOR = 4  # two halvings


def _channels(width: int, blocks: int) -> list[int]:
    """The number of channels that each stage but the last gives out."""
    return [width, 2 * width, 4 * width] + [4 * width] * blocks + [2 * width, width]


def _stages(width: int, blocks: int, dropout: float, norm: Norm, sources: int) -> list[Stage]:
    """Three stages that encode, `blocks` residual ones, two that decode, and the head, which ends in [-1, 1]."""

    def stage(*before_norm: nn.Module, channels: int) -> nn.Module:
        return nn.Sequential(*before_norm, normalisation(norm, channels), nn.ReLU(inplace=True))

    def down(i: int, o: int) -> Stage:
        return Stage(Role.encoder, stage(nn.Conv2d(i, o, 3, 2, 1, bias=False), channels=o))

    def up(i: int, o: int) -> Stage:
        return Stage(Role.decoder, stage(nn.ConvTranspose2d(i, o, 3, 2, 1, output_padding=1, bias=False), channels=o))

    stages = [
        Stage(Role.encoder, stage(ReflectionPad(3), nn.Conv2d(sources, width, 7, bias=False), channels=width)),
        down(width, 2 * width),
        down(2 * width, 4 * width),
        *(Stage(Role.bottleneck, ResidualBlock(4 * width, norm, dropout)) for _ in range(blocks)),
        up(4 * width, 2 * width),
        up(2 * width, width),
        Stage(Role.head, nn.Sequential(ReflectionPad(3), nn.Conv2d(width, 1, 7), nn.Tanh())),
    ]
    for _, module in stages:
        initialise(module)
    return stages


class ResNetGenerator(StagedGenerator):
    """The stages one after another. Sides must be multiples of 4 and at least 8 pixels."""

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        check_size(source, DIVISOR)
        latent, image = self.latent(code), source
        for k in range(len(self.backbone)):
            image = self.through(k, latent, image)
        return image


@dataclass
class ResNet(Network):
    """ResNet-9 by default."""

    blocks: int = 9  # residual blocks
    dropout: float = 0.5  # within residual blocks

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("blocks")

    def generator(self, columns: Columns) -> Generator:
        stages = _stages(self.width, self.blocks, self.dropout, self.norm, columns.channels)
        return ResNetGenerator(stages, self.conditioning(columns, _channels(self.width, self.blocks)))
