"""Visual information fidelity in the pixel domain (Sheikh and Bovik, IEEE Transactions on Image Processing 2006)."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

from ...runtime.metric import ImageMetric
from .windows import gaussian, weighted

if TYPE_CHECKING:
    from torch import Tensor

WINDOWS = (17, 9, 5, 3)  # pixels, of the four scales, finest first; each a Gaussian of a fifth of that
SMALLEST = 41  # pixels that the four need
NOISE = 2.0  # variance of the visual noise, for images in [0, 255]
FLAT = 0.01  # a smaller variance counts as 0: single precision leaves 0.002 where an image is flat


class VIF(ImageMetric):
    """How much of the information that an eye would draw from the truth y is still in x. It is 1 for identical slices, 0 for
    unrelated ones, above 1 where the contrast was enhanced, and not defined for a flat y and for slices below 41 pixels.

    It is the paper's VIF as its authors' `vifp_mscale` approximates it, by Gaussian windows on four scales."""

    better, range = "higher", (0.0, inf)
    digits, times = 2, 100.0
    definition = "multiplied by 100, in the pixel domain on four scales; above 100 where the contrast was enhanced"

    def score(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        import torch  # not above: who reads a table needs none of it

        x, y = prediction[:, 0].float(), target[:, 0].float()
        if min(x.shape[1:]) < SMALLEST:
            return x.new_full((len(x),), nan)
        images = 255 * (torch.stack([x, y]) - 0.5)  # about grey, where squares are small; covariances stay the same
        kept, there = x.new_zeros(len(x)), x.new_zeros(len(x))
        for scale, size in enumerate(WINDOWS):
            taps = gaussian(size, size / 5)
            if scale:
                images = weighted(images, taps, taps, step=2)
            a, b = images
            moments = weighted(torch.stack([a, b, a * a, b * b, a * b]), taps, taps)
            mean_a, mean_b, squares_a, squares_b, products = moments
            variance_a, variance_b = squares_a - mean_a**2, squares_b - mean_b**2
            covariance = products - mean_a * mean_b
            textured = variance_b >= FLAT
            gain = torch.where(textured, covariance.clamp(min=0) / variance_b, 0)  # x is gain times y, and a rest
            rest = (variance_a - gain * covariance).clamp(min=0)
            kept = kept + torch.log1p(gain**2 * variance_b / (rest + NOISE)).sum((1, 2))
            there = there + torch.log1p(torch.where(textured, variance_b, 0) / NOISE).sum((1, 2))
        return (kept / there).where(there > 0, nan)
