"""Structural similarity (Wang, Bovik, Sheikh and Simoncelli, IEEE Transactions on Image Processing 2004)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...runtime.mean_of_maps import MeanOfMaps
from ...runtime.metric import Region

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 7  # a uniform window of 7x7 pixels and the sample covariance
C1, C2 = 0.01**2, 0.03**2  # for images in [0, 1]


class SSIM(MeanOfMaps):
    """The mean structural similarity, by scikit-image's defaults: a uniform window of 7 x 7, without the border where it does
    not fit. A region's score is the mean over the windows whose middle lies in it."""

    better, range = "higher", (-1.0, 1.0)
    digits, times = 2, 100.0
    definition = "multiplied by 100 and computed with scikit-image's default (a uniform 7x7 window)"
    regions = (Region.slice, Region.foreground)
    everywhere = True
    margin = WINDOW // 2

    def maps(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        if min(x.shape[1:]) < WINDOW:
            raise ValueError(
                f"slices of {tuple(x.shape[1:])} pixels are smaller than SSIM's window of {WINDOW}x{WINDOW}"
            )
        return (ssim_map(x, y),)


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """The structural similarity at every place of the window, `[B, H, W]` in [0, 1] to `[B, H - 6, W - 6]`.

    It is in double precision, because a variance is a small difference of large sums where an image is bright and smooth.
    """
    pixels = WINDOW**2
    mean_x, mean_y = _window_sum(x) / pixels, _window_sum(y) / pixels
    sample = pixels / (pixels - 1)
    variances = sample * (_window_sum(x * x + y * y) / pixels - mean_x**2 - mean_y**2)
    covariance = sample * (_window_sum(x * y) / pixels - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance * (2 * covariance + C2) / (variances + C2)


def _window_sum(image: Tensor) -> Tensor:
    """Sums over all windows that lie inside the image, of shifted views: on a CPU several times faster than pooling."""
    for axis in (1, 2):
        length = image.shape[axis] - WINDOW + 1
        image = sum((image.narrow(axis, shift, length) for shift in range(1, WINDOW)), image.narrow(axis, 0, length))
    return image
