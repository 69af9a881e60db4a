"""Whether a method draws the lesions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from math import nan
from operator import or_
from typing import TYPE_CHECKING

from ...runtime.mean_of_maps import slice_mean
from ...runtime.metric import ImageMetric, Region

if TYPE_CHECKING:
    from torch import Tensor

RING = 3  # width in pixels of the ring about a lesion with which the lesion is compared
CONTRAST = (
    0.05  # between a lesion and its ring in the target, on the [0, 1] scale, that is needed to score the contrast
)


class LesionContrast(ImageMetric):
    """The contrast of a slice is its mean inside the lesions minus its mean in the ring of 3 pixels about them that lies in the
    foreground. With r, the contrast of x over that of y, the score is 1 - |1 - r|: 1 for a lesion with the right contrast, 0.6
    with 60 % or 140 % of it, 0 for a lesion that is not drawn, and negative for one that is dark where it should be bright or
    the reverse. It is not defined where the contrast of y is below 0.05 in size."""

    better, range = "higher", (-1 / CONTRAST, 1.0)
    label, digits, times = "Lesion contrast", 1, 100.0
    definition = "100 for a lesion that is drawn with the target's contrast, 0 for one that is not drawn"
    regions = (Region.lesions,)

    def by_region(self, prediction: Tensor, target: Tensor, masks: Mapping[Region, Tensor]) -> dict[Region, Tensor]:
        if Region.lesions not in masks:
            return {}
        within = masks.get(Region.foreground)
        return {Region.lesions: self.score(prediction, target, masks[Region.lesions], within)}

    def score(self, prediction: Tensor, target: Tensor, mask: Tensor, within: Tensor | None = None) -> Tensor:
        """`within`: where the ring may lie, bool `[B, H, W]`; anywhere without one."""
        ring = near(mask) & ~mask
        if within is not None:
            ring = ring & within
        drawn, real = (slice_mean(image[:, 0], mask) - slice_mean(image[:, 0], ring) for image in (prediction, target))
        return (1 - (1 - drawn / real).abs()).where(real.abs() >= CONTRAST, nan)


def near(mask: Tensor) -> Tensor:
    """The pixels that lie no further than the ring from the mask, down and across; shifted views are many times faster than
    pooling."""
    from torch.nn.functional import pad  # not above: who reads a table needs no torch

    height, width = mask.shape[1:]
    found = pad(mask, (RING,) * 4)
    found = reduce(or_, [found[:, :, shift : shift + width] for shift in range(2 * RING + 1)])
    return reduce(or_, [found[:, shift : shift + height] for shift in range(2 * RING + 1)])
