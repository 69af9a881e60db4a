"""Images seen through windows that are the product of one for rows and one for columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def gaussian(size: int, sigma: float) -> list[float]:
    """A Gaussian at `size` places about its middle, with sum 1."""
    taps = [math.exp(-((place - (size - 1) / 2) ** 2) / (2 * sigma**2)) for place in range(size)]
    return [tap / math.fsum(taps) for tap in taps]


def weighted(images: Tensor, rows: Sequence[float], columns: Sequence[float], step: int = 1) -> Tensor:
    """Weighted sums of images `[..., H, W]` over every window that lies inside, or over every `step`th, down and across.

    As sums of shifted views: on a CPU several times faster than convolution with one channel.
    """
    for taps in (columns, rows):
        span = (images.shape[-1] - len(taps)) // step * step + 1
        views = [images[..., shift : shift + span : step] for shift in range(len(taps))]
        images = views[0] * taps[0]
        for view, tap in zip(views[1:], taps[1:], strict=True):
            images.add_(view, alpha=tap)
        images = images.transpose(-1, -2)
    return images
