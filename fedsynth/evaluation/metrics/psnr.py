"""The peak signal-to-noise ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...runtime.mean_of_maps import MeanOfMaps
from ...runtime.metric import Region

if TYPE_CHECKING:
    from torch import Tensor

PSNR_CAP = 60.0  # dB; also what identical images score


class PSNR(MeanOfMaps):
    """-10 log10 of the mean squared error, in dB, at most 60: the peak is 1, and never an image's own maximum."""

    better, range = "higher", (0.0, PSNR_CAP)
    label, unit, digits, negligible = "PSNR", "dB", 2, 0.2
    definition = "in dB, for images in [0, 1] with a peak of 1, and at most 60"
    regions = (Region.slice, Region.foreground, Region.lesions)
    everywhere = True

    def maps(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return ((x - y).square(),)

    def of_means(self, *means: Tensor) -> Tensor:
        (error,) = means
        return (-10 * error.log10()).clamp(max=PSNR_CAP)


def psnr(prediction: np.ndarray, target: np.ndarray) -> float:
    """The same of slices `[..., H, W]` in [0, 1] without torch, for figures and look-up tables; the mean over slices."""
    error = ((prediction.astype(np.float64) - target) ** 2).mean((-2, -1))
    return float(np.minimum(-10 * np.log10(np.maximum(error, 1e-30)), PSNR_CAP).mean())
