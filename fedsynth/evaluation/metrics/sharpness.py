"""How well edges and fine detail are kept, which PSNR hardly shows."""

from __future__ import annotations

import torch
from torch import Tensor

from .windows import gaussian, weighted

WINDOW, SIGMA = 15, 1.5  # pixels


def hf_nmse(x: Tensor, y: Tensor) -> Tensor:
    """The high-frequency NMSE of each slice, `[B, H, W]` to `[B]`: |L(x) - L(y)|^2 / |L(y)|^2, the square of the HFEN of
    Ravishankar and Bresler 2011. L is the Laplacian of a Gaussian of 1.5 pixels in a window of 15 x 15 with sum 0, without the
    border where the window does not fit. It is 0 for identical slices, 1 for a flat x, and NaN for a flat y and for slices
    below 15 pixels.
    """
    if min(x.shape[1:]) < WINDOW:
        return torch.full_like(x[:, 0, 0], torch.nan)
    error, energy = (detail.square().sum((1, 2)) for detail in laplacian_of_gaussian(torch.stack([x - y, y])))
    return torch.where(energy > 0, error / energy, torch.nan)


def laplacian_of_gaussian(images: Tensor) -> Tensor:
    """The Laplacian of a Gaussian of images `[..., H, W]`, up to a factor."""
    bell = gaussian(WINDOW, SIGMA)
    curved = [tap * ((place - WINDOW // 2) ** 2 - SIGMA**2) for place, tap in enumerate(bell)]
    level = [2 * sum(curved) / WINDOW**2] * WINDOW  # with it the window's sum is 0
    return weighted(images, curved, bell) + weighted(images, bell, curved) - weighted(images, level, [1.0] * WINDOW)
