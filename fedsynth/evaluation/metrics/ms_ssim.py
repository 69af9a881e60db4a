"""Multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003)."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from ...runtime.metric import ImageMetric
from .ssim import C1, C2
from .windows import gaussian, weighted

if TYPE_CHECKING:
    from torch import Tensor

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
WINDOW = 11
TAPS = gaussian(WINDOW, 1.5)


class MSSSIM(ImageMetric):
    """Equation 7 of the paper. It compares contrast and structure at every scale, and luminance at the coarsest; each scale is
    half as fine as the one before. Of the paper's five scales those are used whose slice has room for the window of 11 x 11
    (three at 64 pixels, four at 128, five from 176), with their exponents scaled to sum 1. A negative factor counts as 0. It is
    not defined for slices below 11 pixels."""

    better, range = "higher", (0.0, 1.0)
    digits, times = 2, 100.0
    definition = "multiplied by 100 and computed on as many of its five scales as have room for its 11x11 window"

    def score(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        from torch.nn.functional import avg_pool2d  # not above: who reads a table needs no torch

        x, y = prediction[:, 0].float(), target[:, 0].float()
        sizes = [min(x.shape[1:]) >> scale for scale in range(len(EXPONENTS))]
        exponents = [exponent for exponent, size in zip(EXPONENTS, sizes, strict=True) if size >= WINDOW]
        result = x.new_full((len(x),), 1.0 if exponents else nan)
        for scale, exponent in enumerate(exponents):
            if scale:
                x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
            similarity = _similarity(x, y, luminance=scale == len(exponents) - 1)
            result = result * similarity.clamp(min=0) ** (exponent / sum(exponents))
        return result


def _similarity(x: Tensor, y: Tensor, luminance: bool) -> Tensor:
    """The mean over all places of the window of contrast and structure, times luminance if that is asked for."""
    import torch

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
