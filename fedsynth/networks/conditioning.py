"""Conditioning, the same for every generator: a mapper turns the code of site, source and target contrast into a latent, and
after a stage a personalisation block shapes the feature maps by that latent.

It is pFLSynth's (Dalmaz et al. 2024): adaptive instance normalisation gives each feature map the mean and standard deviation
that the latent asks for. Then a channel gate scales it by a number in (0, 1) (channel attention that depends on the latent
alone). The forward pass is that of the released code; a batch may hold several codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..federation import Columns
from .blocks import initialise

MAPPER_MULTIPLIER = 0.01  # learning-rate multiplier of the mapper, as in StyleGAN


class Condition(Enum):
    """What part of the code a generator reads."""

    none = "none"
    site = "site"
    task = "task"
    site_task = "site_task"

    def read(self, columns: Columns) -> slice:
        """The columns of that part."""
        start = columns.sites if self is Condition.task else 0
        return slice(start, columns.sites if self is Condition.site else columns.length)


class Init(Enum):
    """How the linear layers that carry the latent start.

    `designed`: at their own standard deviation, 1 / multiplier, so that the output depends on the code. `released`: as in the
    released code, whose N(0, 0.02) overwrites them too: every mapper layer then shrinks its input a thousandfold, and the
    output does not depend on the code. `scaled`: as designed, but with the style weights times 0.3, for short trainings.
    """

    designed = "designed"
    released = "released"
    scaled = "scaled"


class EqualisedLinear(nn.Module):
    """Linear layer from `[B, inputs]` to `[B, outputs]`. Its weight is stored at standard deviation 1 / multiplier and scaled to
    He's, gain / sqrt(inputs), in the forward pass, so that an adaptive optimiser moves all layers alike (Karras et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, gain: float, multiplier: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.multiplier = multiplier
        self.scale = gain / math.sqrt(inputs) * multiplier

    def forward(self, latent: Tensor) -> Tensor:
        return F.linear(latent, self.weight * self.scale, self.bias * self.multiplier)


class Mapper(nn.Module):
    """Makes a latent `[B, latent]` of the part of the code `[B, columns.length]` that it reads, by equalised linear layers with
    LeakyReLU 0.2 after each."""

    def __init__(self, read: slice, latent: int, layers: int) -> None:
        super().__init__()
        self.read = read
        sizes = [read.stop - read.start] + [latent] * layers
        self.layers = nn.ModuleList(
            EqualisedLinear(i, o, gain=math.sqrt(2), multiplier=MAPPER_MULTIPLIER) for i, o in pairwise(sizes)
        )

    def forward(self, code: Tensor) -> Tensor:
        latent = code[:, self.read]
        for layer in self.layers:
            latent = F.leaky_relu(layer(latent), 0.2)
        return latent


class AdaIN(nn.Module):
    """Gives each channel of `[B, C, H, W]` the mean b and the standard deviation |1 + s|; s and b are linear in the latent."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.style = EqualisedLinear(latent, 2 * channels, gain=1.0, multiplier=1.0)

    def forward(self, image: Tensor, latent: Tensor) -> Tensor:
        s, b = self.style(latent)[:, :, None, None].chunk(2, 1)
        return F.instance_norm(image) * (s + 1) + b


class ChannelGate(nn.Module):
    """Scales each channel of `[B, C, H, W]` by a number in (0, 1) that depends on the latent, through C/8 hidden units."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        hidden = max(channels // 8, 1)
        self.gate = nn.Sequential(
            nn.Linear(latent, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, image: Tensor, latent: Tensor) -> Tensor:
        return image * self.gate(latent)[:, :, None, None]


class PersonalBlock(nn.Module):
    """Personalises the maps `[B, C, H, W]` of a stage by the latent `[B, L]`: AdaIN, then the gate, or only one of them."""

    def __init__(self, channels: int, latent: int, adain: bool = True, gate: bool = True) -> None:
        super().__init__()
        self.adain = AdaIN(channels, latent) if adain else None
        self.gate = ChannelGate(channels, latent) if gate else None

    def forward(self, image: Tensor, latent: Tensor) -> Tensor:
        if self.adain is not None:
            image = self.adain(image, latent)
        return image if self.gate is None else self.gate(image, latent)


class Conditioning(NamedTuple):
    """A mapper and a personalisation block for each of the first stages of a generator."""

    mapper: Mapper
    blocks: list[PersonalBlock]


def conditioning(mapper: Mapper, channels: Sequence[int], adain: bool, gate: bool, init: Init) -> Conditioning:
    """A block for each stage that gives out so many channels, with initial weights; the mapper keeps its own if designed."""
    latent = mapper.layers[-1].bias
    assert isinstance(latent, Tensor)
    blocks = [PersonalBlock(c, len(latent), adain, gate) for c in channels]
    parts = nn.ModuleList([mapper, *blocks])
    initialise(parts)
    for module in parts.modules():
        if isinstance(module, EqualisedLinear) and init is Init.released:
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, AdaIN) and init is Init.scaled:
            module.style.weight.detach().mul_(0.3)
    return Conditioning(mapper, blocks)
