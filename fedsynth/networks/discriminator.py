"""The discriminator of every network is PatchGAN, which judges overlapping patches rather than the whole image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Norm, initialise, normalisation


class PatchGAN(nn.Module):
    """Conditional patch discriminator (Isola et al. 2017). `forward(source, image)`, of `[B, sources, H, W]` and `[B, 1, H, W]`,
    gives each patch an unbounded score, `[B, 1, H', W']` (least-squares GAN). Sides below 3 * 2^layers pixels raise ValueError.

    It has 4x4 convolutions: `layers` of stride 2, whose channels double from `width` up to 8 times that, then two of stride 1.
    A convolution before a normalisation has no bias. 64 channels and 3 layers have 2,764,609 parameters.
    """

    def __init__(self, width: int, layers: int, norm: Norm, sources: int = 1) -> None:
        super().__init__()
        self.smallest = 3 * 2**layers
        channels = [width * min(2**layer, 8) for layer in range(layers + 1)]
        body: list[nn.Module] = [nn.Conv2d(sources + 1, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for layer in range(1, layers + 1):
            stride = 2 if layer < layers else 1
            body += [
                nn.Conv2d(channels[layer - 1], channels[layer], 4, stride, 1, bias=False),
                normalisation(norm, channels[layer]),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.body = nn.Sequential(*body, nn.Conv2d(channels[-1], 1, 4, 1, 1))
        initialise(self)

    def forward(self, source: Tensor, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if min(height, width) < self.smallest:
            raise ValueError(
                f"the image is {height}x{width}; this discriminator needs sides of at least {self.smallest}: use larger "
                "slices or fewer network.discriminator_layers"
            )
        return self.body(torch.cat([source, image], 1))
