"""Multi-scale structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .ssim import C1, C2
from .windows import gaussian, weighted

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
WINDOW = 11
TAPS = gaussian(WINDOW, 1.5)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """MS-SSIM of each slice, `[B, H, W]` in [0, 1] to `[B]`; NaN for slices below 11 pixels (Wang, Simoncelli and Bovik 2003,
    equation 7).

    It compares contrast and structure at every scale, and luminance at the coarsest; each scale is half as fine as the one
    before. Of the paper's five scales those are used whose slice has room for the window of 11 x 11 (three at 64 pixels, four
    at 128, five from 176), with their exponents scaled to sum 1. A negative factor counts as 0.
    """
    sizes = [min(x.shape[1:]) >> scale for scale in range(len(EXPONENTS))]
    exponents = [exponent for exponent, size in zip(EXPONENTS, sizes, strict=True) if size >= WINDOW]
    if not exponents:
        return torch.full_like(x[:, 0, 0], torch.nan)
    result = torch.ones_like(x[:, 0, 0])
    for scale, exponent in enumerate(exponents):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        similarity = _similarity(x, y, luminance=scale == len(exponents) - 1)
        result = result * similarity.clamp(min=0) ** (exponent / sum(exponents))
    return result


def _similarity(x: Tensor, y: Tensor, luminance: bool) -> Tensor:
    """The mean over all places of the window of contrast and structure, times luminance if that is asked for."""
    # Intensities are taken about grey, where squares are small, so that single precision is enough for the variances.
    grey = 0.5
    x, y = x - grey, y - grey
    moments = weighted(torch.stack([x, y, x * x + y * y, x * y]), TAPS, TAPS)
    mean_x, mean_y, squares, products = moments
    variances, covariance = squares - mean_x**2 - mean_y**2, products - mean_x * mean_y
    similarity = (2 * covariance + C2) / (variances + C2)
    if luminance:
        mean_x, mean_y = mean_x + grey, mean_y + grey
        similarity = similarity * (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return similarity.mean((1, 2))
