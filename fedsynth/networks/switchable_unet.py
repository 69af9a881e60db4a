"""Federated CycleGAN's switchable U-Net is told by its code which contrast to make of which (Song and Ye 2021).

It is the U-Net with adaptive instance normalisation after its stages, and no gate. If source and target contrast are swapped in
the code, the same generator translates the other way. It is pFLSynth's class for that method except for the last normalisation,
which there is of the one-channel image and gives every slice the same brightness and contrast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..federation import Columns
from .conditioning import Condition
from .network import Generator
from .unet import UNet, UNetGenerator, unet_channels, unet_stages


@dataclass
class SwitchableUNet(UNet):
    """AdaIN follows the U-Net's own norm, as in that class, after every stage but the last decoder and the head. After that
    decoder it would also fix the mean of the image, which is a weighted sum of the decoder's channels."""

    mapper_layers: ClassVar[int] = 2
    condition: Condition = Condition.task  # what of the code the generator reads: the direction
    gate: bool = False  # whether the latent scales feature maps

    def generator(self, columns: Columns) -> Generator:
        stages = unet_stages(self.width, self.pools, self.norm, columns.channels)
        return UNetGenerator(stages, self.conditioning(columns, unet_channels(self.width, self.pools)[:-1]))
