"""Whether a method draws the lesions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .images import slice_mean
from .scores import decibels

NAMES = ("psnr_lesion", "nmse_lesion", "mae_lesion", "lesion_contrast")
LEAST = 16  # pixels of lesion that a slice needs to be scored
RING = 3  # width in pixels of the ring about a lesion with which the lesion is compared
CONTRAST = (
    0.05  # between a lesion and its ring in the target, on the [0, 1] scale, that is needed to score the contrast
)


def lesion_scores(x: Tensor, y: Tensor, mask: Tensor, lesions: Tensor | None) -> dict[str, Tensor]:
    """Scores of each slice x against y, `[B, H, W]` in [0, 1], inside `lesions`, bool `[B, H, W]`. They are NaN if `lesions` is
    None, and for slices with fewer than 16 pixels of lesion.

    `lesion_contrast`: the contrast of a slice is its mean inside the lesions minus its mean in the ring of 3 pixels about them
    that lies in the foreground. With r, the contrast of x over that of y, the score is 1 - |1 - r|: 1 for a lesion with the
    right contrast, 0.6 with 60 % or 140 % of it, 0 for a lesion that is not drawn, and negative for one that is dark where it
    should be bright or the reverse. It is NaN where the contrast of y is below 0.05 in size.
    """
    if lesions is None:
        return dict.fromkeys(NAMES, torch.full_like(x[:, 0, 0], torch.nan))
    inside = lesions & (lesions.sum((1, 2)) >= LEAST)[:, None, None]
    near = inside.to(x.dtype)
    for window in ((2 * RING + 1, 1), (1, 2 * RING + 1)):
        near = F.max_pool2d(near, window, stride=1, padding=(window[0] // 2, window[1] // 2))
    ring = (near > 0) & ~lesions & mask
    error, energy = slice_mean((x - y).square(), inside), slice_mean(y.square(), inside)
    drawn, real = (slice_mean(image, inside) - slice_mean(image, ring) for image in (x, y))
    found = (
        decibels(error),
        torch.where(energy > 0, error / energy, torch.nan),
        slice_mean((x - y).abs(), inside),
        torch.where(real.abs() >= CONTRAST, 1 - (1 - drawn / real).abs(), torch.nan),
    )
    return dict(zip(NAMES, found, strict=True))
