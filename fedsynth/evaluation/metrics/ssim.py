"""Structural similarity (Wang et al. 2004), by scikit-image's defaults."""

from __future__ import annotations

from torch import Tensor

WINDOW = 7  # a uniform window of 7x7 pixels and the sample covariance
C1, C2 = 0.01**2, 0.03**2  # for images in [0, 1]


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
