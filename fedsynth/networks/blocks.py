"""What the architectures share: normalisation, padding, dropout with its own random stream, and initial weights."""

from __future__ import annotations

from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Norm(Enum):
    """How feature maps are normalised.

    `instance`: each map by its own mean and variance, with an affine part and without running statistics, so in the same way
    in training and in evaluation. `batch`: BatchNorm, which evaluates with running statistics.

    Example:
        >>> [type(normalisation(norm, channels=8)).__name__ for norm in Norm]
        ['InstanceNorm2d', 'BatchNorm2d']
    """

    instance = "instance"
    batch = "batch"


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """The layer that follows a convolution. That convolution needs no bias: the normalisation would subtract it."""
    if norm is Norm.batch:
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, affine=True)


def initialise(net: nn.Module) -> None:
    """Draw the published initial weights (Isola et al. 2017) from torch's default generator: convolutions and linear layers
    N(0, 0.02), norm scales N(1, 0.02), biases 0.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.InstanceNorm2d | nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_size(image: Tensor, divisor: int) -> None:
    """Raise ValueError unless both sides are multiples of `divisor` and at least twice that, so that no map is a single pixel."""
    height, width = image.shape[-2:]
    if height % divisor or width % divisor or min(height, width) < 2 * divisor:
        raise ValueError(
            f"the image is {height}x{width}; this network needs sides that are multiples of {divisor} and at least "
            f"{2 * divisor}: prepare the slices at such a size"
        )


class ReflectionPad(nn.Module):
    """Pad all four sides by mirroring about the border pixels, as `nn.ReflectionPad2d` does.

    On CUDA the builtin's gradient adds in no fixed order. Under `torch.use_deterministic_algorithms` slices and flips, whose
    order is fixed but which are slower, take its place.
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, image: Tensor) -> Tensor:
        if torch.are_deterministic_algorithms_enabled():
            return _mirrored(_mirrored(image, self.pad, -2), self.pad, -1)
        return F.pad(image, (self.pad,) * 4, mode="reflect")


def _mirrored(image: Tensor, pad: int, axis: int) -> Tensor:
    before = image.narrow(axis, 1, pad).flip(axis)
    after = image.narrow(axis, image.shape[axis] - 1 - pad, pad).flip(axis)
    return torch.cat([before, image, after], axis)


class Noisy(nn.Module):
    """A module that draws at random: from `generator`, a stream that the trainer sets on the tensors' device, or from torch's
    default one while it is None."""

    generator: torch.Generator | None = None


class Dropout(Noisy):
    """Zero each value with probability `p` in training and scale the rest by 1 / (1 - p), so that the mean stays.

    `F.dropout` takes no generator; this module uses the trainer's.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout is {p}; a probability in [0, 1) was expected")
        self.p = p

    def forward(self, image: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return image
        kept = torch.empty_like(image).bernoulli_(1 - self.p, generator=self.generator)
        return image * kept * (1 / (1 - self.p))


class ResidualBlock(nn.Module):
    """x + norm(conv(dropout(relu(norm(conv(x)))))), 3x3 on mirrored borders. `[B, C, H, W]` in and out."""

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            Dropout(dropout),
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            normalisation(norm, channels),
        )

    def forward(self, image: Tensor) -> Tensor:
        return image + self.body(image)
