"""Federated CycleGAN's switchable U-Net is told by its code which contrast to make of which (Song and Ye 2021).

It is the U-Net with adaptive instance normalisation after its convolutions, and no gate. If source and target contrast are
swapped in the code, the same generator translates the other way. With `image_adain=true` it is pFLSynth's class of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..federation import Columns
from .conditioning import Condition, Conditioning, PersonalBlock
from .network import Generator, Role, Stage
from .unet import UNet, UNetGenerator, Up, unet_channels, unet_stages


class SwitchableUNetGenerator(UNetGenerator):
    """A U-Net whose latent also acts within stages: `inner` has a block for each decoder, which follows its transposed
    convolution, and perhaps one for the head, before its tanh."""

    def __init__(
        self, stages: Sequence[Stage], conditioning: Conditioning | None, inner: Sequence[PersonalBlock]
    ) -> None:
        super().__init__(stages, conditioning)
        self.inner = nn.ModuleList(inner)

    def block_within(self, k: int) -> nn.Module | None:
        """The block within stage k."""
        first = self.roles.index(Role.decoder)
        return self.inner[k - first] if first <= k < first + len(self.inner) else None

    def through(self, k: int, latent: Tensor | None, *images: Tensor) -> Tensor:
        stage, block = self.backbone[k], self.block_within(k)
        if latent is None or block is None:
            return super().through(k, latent, *images)
        if isinstance(stage, Up):
            image, skip = images
            merged = stage.merge(torch.cat([block(stage.rise(image), latent), skip], 1))
            return self.personal[k](merged, latent) if k < len(self.personal) else merged
        convolution, tanh = stage.children()
        return tanh(block(convolution(*images), latent))

    def stages(self) -> list[Stage]:
        found = []
        for stage in super().stages():
            found.append(stage)
            if stage.role is not Role.conditioning:
                block = self.block_within(list(self.backbone).index(stage.module))
                found += [Stage(Role.conditioning, block)] if block is not None else []
        return found


@dataclass
class SwitchableUNet(UNet):
    """AdaIN follows the U-Net's own norm, as in that class: after every stage but the last decoder and the head, and after every
    transposed convolution. `image_adain`: whether there is also one of the one-channel image before the tanh, as there. It is off
    because it gives every slice the same brightness and contrast, whatever the slice; after the last decoder, too, AdaIN would
    fix the mean of the image, which is a weighted sum of the decoder's channels."""

    mapper_layers: ClassVar[int] = 2
    condition: Condition = Condition.task  # what of the code the generator reads: the direction
    gate: bool = False  # whether the latent scales feature maps
    image_adain: bool = False  # whether the latent sets the mean and standard deviation of the image

    def generator(self, columns: Columns) -> Generator:
        stages = unet_stages(self.width, self.pools, self.norm, columns.channels)
        *outer, last = unet_channels(self.width, self.pools)
        risen = [*outer[self.pools + 1 :], last]
        found = self.conditioning(columns, [*outer, *risen, *([1] if self.image_adain else [])])
        if found is None:
            return UNetGenerator(stages, None)
        own = Conditioning(found.mapper, found.blocks[: len(outer)])
        return SwitchableUNetGenerator(stages, own, found.blocks[len(outer) :])
