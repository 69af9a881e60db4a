"""The images as they are scored, and means over parts of them."""

from __future__ import annotations

import torch
from torch import Tensor


def unit(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Images `[B, 1, H, W]` in [-1, 1] as float64 `[B, H, W]`, mapped to [0, 1] in single precision and clipped."""
    x, y = (((image[:, 0].float() + 1) / 2).clamp(0, 1).double() for image in (prediction, target))
    return x, y


def slice_mean(values: Tensor, inside: Tensor | None = None) -> Tensor:
    """The mean of each slice over the places inside, NaN where there are none; over the whole slice if `inside` is None."""
    if inside is None:
        return values.mean((1, 2))
    return torch.where(inside, values, 0).sum((1, 2)) / inside.sum((1, 2))
