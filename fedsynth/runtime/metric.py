"""What scores a synthesised slice: the contract of a metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import isfinite, isnan
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor

SLACK = 1e-4  # by which rounding in single precision may leave a range, times the bound where that is above 1


class MetricError(ValueError):
    """A metric that breaks its contract, or a score that cannot be one; the message names both."""


class Region(Enum):
    """The pixels over which a metric is taken, and what the column's name ends with."""

    slice = ""
    foreground = "_fg"
    lesions = "_lesion"  # of a slice with enough of them; a site may know of none


@dataclass
class ImageMetric(ABC):
    """A score of a synthesised slice against the real one.

    The class attributes say how it is read and shown. `better` and `range` have no default.

    Example:
        >>> class Bias(ImageMetric):
        ...     better, range = "lower", (0, 1)
        ...     regions = (Region.slice, Region.foreground)
        ...
        ...     def score(self, prediction, target, mask):
        ...         error = (prediction - target)[:, 0].where(mask, 0).sum((1, 2))
        ...         return (error / mask.sum((1, 2))).abs()
        >>> list(Bias.columns("bias")), Bias().accepts(0.25), Bias().accepts(7)
        (['bias', 'bias_fg'], True, False)
    """

    better: ClassVar[Literal["higher", "lower"]]
    range: ClassVar[tuple[float, float]]  # the least and the largest score that there can be
    label: ClassVar[str] = ""  # in tables, if not the name in capitals
    unit: ClassVar[str] = ""  # after a number
    digits: ClassVar[int] = 4  # after the point, in tables
    times: ClassVar[float] = 1.0  # what a table multiplies a score by
    negligible: ClassVar[float | None] = None  # a difference, as tables show it, that does not matter
    definition: ClassVar[str] = ""  # for a caption, after "PSNR is"
    regions: ClassVar[tuple[Region, ...]] = (Region.slice,)
    everywhere: ClassVar[bool] = False  # whether every whole slice has a score, so that NaN is never left out

    @abstractmethod
    def score(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """The score of each slice over the pixels of the mask, `[B]`, on the images' device; NaN where it is not defined.

        Args:
            prediction: float64 `[B, 1, H, W]` in [0, 1].
            target: The same.
            mask: bool `[B, H, W]`: the region. Scores of slices that have no pixel of it are not used.
        """

    def by_region(self, prediction: Tensor, target: Tensor, masks: Mapping[Region, Tensor]) -> dict[Region, Tensor]:
        """`score` over each of the metric's regions that there is a mask of. A metric that needs several masks at once, or that
        can share work between regions, has its own."""
        return {own: self.score(prediction, target, masks[own]) for own in self.regions if own in masks}

    @classmethod
    def columns(cls, name: str) -> dict[str, Region]:
        """The columns of `scores.csv` that a metric of this name fills: one a region, or its plain name if there is one."""
        several = len(cls.regions) > 1
        return {f"{name}{region.value}" if several else name: region for region in cls.regions}

    def accepts(self, value: float) -> bool:
        """Whether the score lies in the range, or is not defined."""
        low, high = self.range
        inside = low - SLACK * max(1, abs(low)) <= value <= high + SLACK * max(1, abs(high)) and isfinite(value)
        return isnan(value) or inside
