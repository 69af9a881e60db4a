"""pFLSynth's generator: the residual network, personalised by a code of site, source and target contrast.

A mapper turns the code into a latent. After every stage but the last a personalisation block gives each feature map the
mean and standard deviation that the latent asks for (adaptive instance normalisation) and then scales it by a gate in (0, 1)
(channel attention, of the latent alone). The forward pass is that of the released code; a batch may hold several codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import check_size, initialise
from .network import Generator, Role, Stage
from .resnet import DIVISOR, ResNet, backbone, channels

MAPPER_MULTIPLIER = 0.01  # learning-rate multiplier of the mapper, as StyleGAN's


class Init(Enum):
    """How the linear layers that carry the latent start.

    `designed`: at their own standard deviation, 1 / multiplier, so that the latent lives. `released`: as in the released
    code, whose N(0, 0.02) start overwrites them too: every mapper layer then shrinks its input a thousandfold and the
    output does not depend on the code. `scaled`: designed, with the style weights times 0.3, for short trainings.
    """

    designed = "designed"
    released = "released"
    scaled = "scaled"


class EqualisedLinear(nn.Module):
    """Linear layer, `[B, inputs]` to `[B, outputs]`, whose weight is stored at standard deviation 1 / multiplier and scaled
    to He's, gain / sqrt(inputs), in the forward pass: an adaptive optimiser then moves all layers alike (Karras et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, gain: float, multiplier: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.multiplier = multiplier
        self.scale = gain / math.sqrt(inputs) * multiplier

    def forward(self, latent: Tensor) -> Tensor:
        return F.linear(latent, self.weight * self.scale, self.bias * self.multiplier)


class Mapper(nn.Module):
    """Code `[B, code_length]` to latent `[B, latent]`: equalised linear layers, LeakyReLU 0.2 after each."""

    def __init__(self, code_length: int, latent: int, layers: int) -> None:
        super().__init__()
        sizes = [code_length] + [latent] * layers
        self.layers = nn.ModuleList(
            EqualisedLinear(i, o, gain=math.sqrt(2), multiplier=MAPPER_MULTIPLIER) for i, o in pairwise(sizes)
        )

    def forward(self, code: Tensor) -> Tensor:
        for layer in self.layers:
            code = F.leaky_relu(layer(code), 0.2)
        return code


class AdaIN(nn.Module):
    """Give each channel of `[B, C, H, W]` the mean b and standard deviation |1 + s|; s and b are linear in the latent."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.style = EqualisedLinear(latent, 2 * channels, gain=1.0, multiplier=1.0)

    def forward(self, image: Tensor, latent: Tensor) -> Tensor:
        s, b = self.style(latent)[:, :, None, None].chunk(2, 1)
        return F.instance_norm(image) * (s + 1) + b


class ChannelGate(nn.Module):
    """Scale each channel of `[B, C, H, W]` by a number in (0, 1) that the latent decides, through C/8 hidden units."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        hidden = max(channels // 8, 1)
        self.gate = nn.Sequential(
            nn.Linear(latent, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, image: Tensor, latent: Tensor) -> Tensor:
        return image * self.gate(latent)[:, :, None, None]


class PersonalBlock(nn.Module):
    """Personalise the maps `[B, C, H, W]` that a stage gives out, by the latent `[B, L]`."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.adain = AdaIN(channels, latent)
        self.gate = ChannelGate(channels, latent)

    def forward(self, image: Tensor, latent: Tensor) -> Tensor:
        return self.gate(self.adain(image, latent), latent)


class PersonalisedGenerator(Generator):
    """The residual network's stages with a personalisation block after each but the last. Sides as for `resnet`."""

    def __init__(self, stages: list[Stage], mapper: Mapper, personal: list[PersonalBlock]) -> None:
        super().__init__()
        self.roles = [stage.role for stage in stages]
        self.backbone = nn.ModuleList(stage.module for stage in stages)
        self.mapper = mapper
        self.personal = nn.ModuleList(personal)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        check_size(source, DIVISOR)
        latent = self.mapper(code)
        image = source
        for stage, personal in zip(self.backbone, self.personal, strict=False):
            image = personal(stage(image), latent)
        return self.backbone[-1](image)

    def stages(self) -> list[Stage]:
        stages = [Stage(Role.conditioning, self.mapper)]
        for role, module, personal in zip(self.roles, self.backbone, self.personal, strict=False):
            stages += [Stage(role, module), Stage(Role.conditioning, personal)]
        return [*stages, Stage(self.roles[-1], self.backbone[-1])]


@dataclass
class Personalised(ResNet):
    """pFLSynth's network. `latent`: size of the latent; `mapper_layers`: depth of the mapper; `init`: see `Init`."""

    latent: int = 512
    mapper_layers: int = 6
    init: Init = Init.designed

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("latent", "mapper_layers")

    def generator(self, code_length: int) -> Generator:
        stages = backbone(self.width, self.blocks, self.dropout, self.norm)
        mapper = Mapper(code_length, self.latent, self.mapper_layers)
        personal = [PersonalBlock(c, self.latent) for c in channels(self.width, self.blocks)]
        conditioning = nn.ModuleList([mapper, *personal])
        initialise(conditioning)
        for module in conditioning.modules():
            if isinstance(module, EqualisedLinear) and self.init is Init.released:
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, AdaIN) and self.init is Init.scaled:
                module.style.weight.detach().mul_(0.3)
        return PersonalisedGenerator(stages, mapper, personal)
