"""Layers as a compiler is given them: the same sums in another order, so that results differ by rounding.

A net that runs eagerly keeps its layers as they are. Why another form: a vector unit works on eight or sixteen channels at a
time, and a convolution from few channels, or to one, leaves most of it empty. A norm is written out, so that it is fused with
what is around it, and a random mask is drawn by one operation.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.blocks import Dropout
from ..networks.conditioning import AdaIN

LANES = 8  # channels of 32 bits that a vector unit works on at a time; some work on 16
FEW = 3  # channels, or less, leave most of it empty
LARGE = 4  # a kernel of a longer side is taken by columns


# --- norms -----------------------------------------------------------------------------------------------------------


def normalised(image: Tensor, eps: float = 1e-5) -> Tensor:
    """Each map of `[B, C, H, W]` with mean 0 and variance 1."""
    gap = image.float() - image.float().mean((2, 3), keepdim=True)
    whitened = gap * torch.rsqrt(gap.square().mean((2, 3), keepdim=True) + eps)
    return whitened.to(image.dtype)


def affine_norm(layer: nn.InstanceNorm2d, image: Tensor) -> Tensor:
    image = normalised(image, layer.eps)
    return image * layer.weight[:, None, None] + layer.bias[:, None, None] if layer.affine else image


def adain(layer: AdaIN, image: Tensor, latent: Tensor) -> Tensor:
    s, b = layer.style(latent)[:, :, None, None].chunk(2, 1)
    return normalised(image) * (s + 1) + b


# --- noise -----------------------------------------------------------------------------------------------------------


class Noise:
    """The stream of the site whose nets run compiled: compiled code cannot hold a generator."""

    stream: torch.Generator | None = None


@torch.library.custom_op("fedsynth::kept", mutates_args=(), schema="(Tensor image, float share) -> Tensor")
def kept(image: Tensor, share: float) -> Tensor:
    """1 for a share of the image's values, 0 for the others, at random."""
    return image.new_empty(image.shape).bernoulli_(share, generator=Noise.stream)


@kept.register_fake
def _(image: Tensor, share: float) -> Tensor:
    return image.new_empty(image.shape)


def dropout(layer: Dropout, image: Tensor) -> Tensor:
    if not layer.training or layer.p == 0:
        return image
    return image * kept(image.detach(), 1 - layer.p) * (1 / (1 - layer.p))


# --- convolutions ----------------------------------------------------------------------------------------------------


def convolution(layer: nn.Conv2d, image: Tensor) -> Tensor:
    (side, other), (stride, along), pad = layer.kernel_size, layer.stride, layer.padding
    plain = side == other and stride == along and layer.groups == 1 and set(layer.dilation) == {1}
    if plain and isinstance(pad, tuple) and pad[0] == pad[1] and layer.padding_mode == "zeros":
        few = layer.in_channels <= FEW
        padded = F.pad(image, (pad[0],) * 4)
        if layer.out_channels == 1 and stride == 1 and side > 1:
            return _to_one_channel(layer, padded, side)
        if few and stride == 1 and side > LARGE:
            return _from_columns(layer, padded, side)
        if few and stride == 2 and side % 2 == 0:
            return _from_quarters(layer, padded, side // 2)
    return nn.Conv2d.forward(layer, image)


def _to_one_channel(layer: nn.Conv2d, image: Tensor, side: int) -> Tensor:
    """A map for each offset of the kernel, or for each of its columns if it is large; then their sum, each moved."""
    tall = side if side > LARGE else 1
    weight = layer.weight[0].reshape(layer.in_channels, side // tall, tall, side).permute(1, 3, 0, 2).flatten(0, 1)
    maps = F.conv2d(image, F.pad(weight, (0, 0, 0, 0, 0, -len(weight) % LANES))[..., None])
    height, width = image.shape[2] - side + 1, image.shape[3] - side + 1
    total = torch.zeros(1, device=image.device) if layer.bias is None else layer.bias
    for down in range(side // tall):
        for right in range(side):
            total = total + maps[:, down * side + right, None, down : down + height, right : right + width]
    return total


def _from_columns(layer: nn.Conv2d, image: Tensor, side: int) -> Tensor:
    """The columns under the kernel as channels."""
    width = image.shape[3] - side + 1
    columns = torch.stack([image[..., right : right + width] for right in range(side)], 2).flatten(1, 2)
    return F.conv2d(columns, layer.weight.transpose(2, 3).flatten(1, 2)[..., None], layer.bias)


def _from_quarters(layer: nn.Conv2d, image: Tensor, half: int) -> Tensor:
    """Each pixel of every two by two as a channel, under a kernel of half the side."""
    weight = layer.weight.unflatten(3, (half, 2)).unflatten(2, (half, 2)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    return F.conv2d(F.pixel_unshuffle(image, 2), weight, layer.bias)


def _by_turns(form: Callable[..., Tensor]) -> Callable[..., Any]:
    def forward(layer: Any, *given: Tensor) -> Any:
        return form(layer, *given) if torch.compiler.is_compiling() else type(layer).forward(layer, *given)

    return forward


FORMS: dict[type, Callable[..., Any]] = {  # one function for all layers of a class, so that nets alike have one code
    nn.Conv2d: _by_turns(convolution),
    nn.InstanceNorm2d: _by_turns(affine_norm),
    AdaIN: _by_turns(adain),
    Dropout: _by_turns(dropout),
}


def prepare(net: nn.Module) -> None:
    """Have the layers of a net give a compiler their other form."""
    for module in net.modules():
        if form := FORMS.get(type(module)):
            module.forward = MethodType(form, module)
