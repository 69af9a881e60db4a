"""Visual information fidelity in the pixel domain."""

from __future__ import annotations

import torch
from torch import Tensor

from .windows import gaussian, weighted

WINDOWS = (17, 9, 5, 3)  # pixels, of the four scales, finest first; each a Gaussian of a fifth of that
SMALLEST = 41  # pixels that the four need
NOISE = 2.0  # variance of the visual noise, for images in [0, 255]
FLAT = 0.01  # a smaller variance counts as 0: single precision leaves 0.002 where an image is flat


def vif(x: Tensor, y: Tensor) -> Tensor:
    """How much of the information that an eye would draw from the truth y is still in x, for each slice, float32 `[B, H, W]` in
    [0, 1] to `[B]`. It is 1 for identical slices, 0 for unrelated ones, above 1 where the contrast was enhanced, and NaN for a
    flat y and for slices below 41 pixels.

    It is the VIF of Sheikh and Bovik 2006 as their released `vifp_mscale` approximates it, by Gaussian windows on four scales.
    """
    if min(x.shape[1:]) < SMALLEST:
        return torch.full_like(x[:, 0, 0], torch.nan)
    images = 255 * (torch.stack([x, y]) - 0.5)  # about grey, where squares are small; covariances stay the same
    kept, there = torch.zeros_like(x[:, 0, 0]), torch.zeros_like(x[:, 0, 0])
    for scale, size in enumerate(WINDOWS):
        taps = gaussian(size, size / 5)
        if scale:
            images = weighted(images, taps, taps, step=2)
        a, b = images
        mean_a, mean_b, squares_a, squares_b, products = weighted(torch.stack([a, b, a * a, b * b, a * b]), taps, taps)
        variance_a, variance_b = squares_a - mean_a**2, squares_b - mean_b**2
        covariance = products - mean_a * mean_b
        textured = variance_b >= FLAT
        gain = torch.where(textured, covariance.clamp(min=0) / variance_b, 0)  # x is gain times y, and a rest
        rest = (variance_a - gain * covariance).clamp(min=0)
        kept = kept + torch.log1p(gain**2 * variance_b / (rest + NOISE)).sum((1, 2))
        there = there + torch.log1p(torch.where(textured, variance_b, 0) / NOISE).sum((1, 2))
    return torch.where(there > 0, kept / there, torch.nan)
