"""Federated CycleGAN's switchable U-Net (Song and Ye 2021): the task in its code says which contrast to make of which.

The U-Net with adaptive instance normalisation after its stages, and no gate. With source and target contrast swapped in the
code, the same generator translates the other way. It is pFLSynth's class for that method but for the last normalisation:
there it is of the one-channel image, whose brightness and contrast are then the same whatever the slice.
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
    """AdaIN follows the U-Net's own norm, as in that class, after every stage but the last decoder and the head: after that
    decoder, too, it would fix the mean of the image, a weighted sum of its channels."""

    mapper_layers: ClassVar[int] = 2
    condition: Condition = Condition.task
    gate: bool = False

    def generator(self, columns: Columns) -> Generator:
        stages = unet_stages(self.width, self.pools, self.norm, columns.channels)
        return UNetGenerator(stages, self.conditioning(columns, unet_channels(self.width, self.pools)[:-1]))
