"""The normalised mean squared error."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

from ...runtime.mean_of_maps import MeanOfMaps
from ...runtime.metric import Region

if TYPE_CHECKING:
    from torch import Tensor


class NMSE(MeanOfMaps):
    """|x - y|^2 / |y|^2 (the square of scikit-image's `normalized_root_mse`); not defined for a target of zeros."""

    better, range = "lower", (0.0, inf)
    definition = "the squared error over the energy of the target"
    regions = (Region.slice, Region.foreground, Region.lesions)
    everywhere = True

    def maps(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (x - y).square(), y.square()

    def of_means(self, *means: Tensor) -> Tensor:
        error, energy = means
        return (error / energy).where(energy > 0, nan)
