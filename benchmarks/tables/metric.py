"""How a column of `scores.csv` is shown. What its metric says of itself (fedsynth/runtime/metric.py) is put into words here.

Statistics take every metric as higher is better, so a metric of which less is better reaches them with its sign turned; a table
shows it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from fedsynth.evaluation.columns import metric_column
from fedsynth.registry import RegistryError
from fedsynth.runtime.metric import Region

WHERE = {Region.slice: "", Region.foreground: " in the foreground", Region.lesions: " in lesions"}


@dataclass(frozen=True)
class Metric:
    """A column of `scores.csv` as it is shown."""

    column: str
    name: str  # of the metric, without what it is multiplied by
    where: str  # empty, " in the foreground" or " in lesions"
    unit: str  # after a number
    scale: float  # from the column to the unit; negative where less is better
    digits: int
    bound: float | None  # differences below it do not matter, unless the user gives another bound
    definition: str  # what follows "PSNR is" in a caption

    @classmethod
    @lru_cache
    def of(cls, column: str) -> Metric:
        """The metric of a column. Raises RegistryError where no installed metric fills it."""
        metric, name, region = metric_column(column)
        return cls(
            column=column,
            name=metric.label or name.upper().replace("_", "-"),
            where=WHERE[region] if len(metric.regions) > 1 else "",
            unit=f" {metric.unit}" if metric.unit else "",
            scale=metric.times if metric.better == "higher" else -metric.times,
            digits=metric.digits,
            bound=metric.negligible,
            definition=metric.definition,
        )

    @property
    def sign(self) -> Literal[-1, 1]:
        """1 where higher is better, -1 where less is."""
        return 1 if self.scale > 0 else -1

    @property
    def label(self) -> str:
        """The name with the scale, such as "SSIM x 100 in the foreground"."""
        times = abs(self.scale)
        return f"{self.name}{f' x {times:g}' if times != 1 else ''}{self.where}"

    @property
    def heading(self) -> str:
        """The heading of a column; the caption tells the scale."""
        return f"{self.name}{self.where}"

    @property
    def sentence(self) -> str:
        """What a caption says of the metric."""
        better = "" if self.scale > 0 else "; lower is better"
        return f"{self.heading} is {self.definition or 'defined by its metric'}{better}."

    @property
    def difference(self) -> str:
        return "A - B" if self.scale > 0 else "B - A"

    @property
    def convention(self) -> str:
        """Which way is better."""
        if self.scale > 0:
            return f"{self.label}: higher is better; where A - B is above 0, A is better"
        return f"{self.label}: lower is better, so the difference is B - A; where it is above 0, A is better"

    def plain(self, value: float | None) -> str:
        """A score, given as higher is better, in the metric's own sign."""
        return "-" if value is None else f"{np.sign(self.scale) * value + 0.0:.{self.digits}f}"

    def spread(self, value: float | None) -> str:
        return "-" if value is None else f"{value:.{self.digits}f}"

    def signed(self, value: float) -> str:
        return f"{round(value, self.digits) + 0.0:+.{self.digits}f}"  # here and above, + 0.0 turns -0 into 0

    def between(self, low: float, high: float) -> str:
        return f"{self.signed(low)} to {self.signed(high)}"


def installed(columns: Iterable[str]) -> Iterator[Metric]:
    """The metrics of these columns, without those that nobody here can say how to show: a record may come from elsewhere."""
    for column in columns:
        try:
            yield Metric.of(column)
        except RegistryError:
            continue
