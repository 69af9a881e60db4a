"""How well edges and fine detail are kept, which PSNR hardly shows (Ravishankar and Bresler 2011)."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

from ...runtime.metric import ImageMetric
from .windows import gaussian, weighted

if TYPE_CHECKING:
    from torch import Tensor

WINDOW, SIGMA = 15, 1.5  # pixels


class HighFrequencyNMSE(ImageMetric):
    """|L(x) - L(y)|^2 / |L(y)|^2, the square of their HFEN. L is the Laplacian of a Gaussian of 1.5 pixels in a window of 15 x 15
    with sum 0, without the border where the window does not fit. It is 0 for identical slices, 1 for a flat x, and not defined
    for a flat y and for slices below 15 pixels."""

    better, range = "lower", (0.0, inf)
    definition = "the NMSE of images filtered by the Laplacian of a Gaussian of 1.5 pixels"

    def score(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        import torch  # not above: who reads a table needs none of it

        x, y = prediction[:, 0].float(), target[:, 0].float()
        if min(x.shape[1:]) < WINDOW:
            return x.new_full((len(x),), nan)
        error, energy = (detail.square().sum((1, 2)) for detail in laplacian_of_gaussian(torch.stack([x - y, y])))
        return (error / energy).where(energy > 0, nan)


def laplacian_of_gaussian(images: Tensor) -> Tensor:
    """The Laplacian of a Gaussian of images `[..., H, W]`, up to a factor."""
    bell = gaussian(WINDOW, SIGMA)
    curved = [tap * ((place - WINDOW // 2) ** 2 - SIGMA**2) for place, tap in enumerate(bell)]
    level = [2 * sum(curved) / WINDOW**2] * WINDOW  # with it the window's sum is 0
    return weighted(images, curved, bell) + weighted(images, bell, curved) - weighted(images, level, [1.0] * WINDOW)
