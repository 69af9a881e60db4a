"""Metrics that are made of means over the pixels of a region."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from .metric import ImageMetric, Region

if TYPE_CHECKING:
    from torch import Tensor


class MeanOfMaps(ImageMetric):
    """A metric of the means of maps. The maps are made once for all regions."""

    margin: ClassVar[int] = 0  # pixels that the maps lack at each border

    @abstractmethod
    def maps(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """The maps of slices `[B, H, W]`, each `[B, H - 2 margin, W - 2 margin]`."""

    def of_means(self, *means: Tensor) -> Tensor:
        """The scores, from the means of the maps, each `[B]`."""
        (mean,) = means
        return mean

    def score(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return self._over(self.maps(prediction[:, 0], target[:, 0]), mask)

    def by_region(self, prediction: Tensor, target: Tensor, masks: Mapping[Region, Tensor]) -> dict[Region, Tensor]:
        maps = self.maps(prediction[:, 0], target[:, 0])
        there = [region for region in self.regions if region in masks]
        return {own: self._over(maps, None if own is Region.slice else masks[own]) for own in there}

    def _over(self, maps: tuple[Tensor, ...], mask: Tensor | None) -> Tensor:
        if mask is not None and self.margin:
            mask = mask[:, self.margin : -self.margin, self.margin : -self.margin]
        return self.of_means(*(slice_mean(own, mask) for own in maps))


def slice_mean(values: Tensor, inside: Tensor | None = None) -> Tensor:
    """The mean of each slice over the places inside, NaN where there are none; over the whole slice if `inside` is None."""
    if inside is None:
        return values.mean((1, 2))
    return values.where(inside, 0).sum((1, 2)) / inside.sum((1, 2))
