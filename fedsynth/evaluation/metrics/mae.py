"""The mean absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...runtime.mean_of_maps import MeanOfMaps
from ...runtime.metric import Region

if TYPE_CHECKING:
    from torch import Tensor


class MAE(MeanOfMaps):
    """The mean of |x - y|, for images in [0, 1]."""

    better, range = "lower", (0.0, 1.0)
    definition = "the mean absolute error of images in [0, 1]"
    regions = (Region.slice, Region.foreground, Region.lesions)
    everywhere = True

    def maps(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return ((x - y).abs(),)
