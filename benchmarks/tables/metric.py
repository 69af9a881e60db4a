"""How a metric is shown: its name, unit and digits, and which way is better.

Statistics take every metric as higher is better, so a metric of which less is better reaches them with its sign turned; a table
shows it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Metric:
    """How a column of `scores.csv` is shown."""

    column: str
    label: str
    unit: str  # after a number
    scale: float  # from the column to the unit; negative where less is better
    digits: int
    bound: float | None  # differences below it do not matter, unless the user gives another bound

    @classmethod
    def of(cls, column: str) -> Metric:
        """The metric of one of `records.METRICS`."""
        name, where = column, ""
        for suffix, part in (("_fg", " in the foreground"), ("_lesion", " in lesions")):
            if column.endswith(suffix):
                name, where = column.removesuffix(suffix), part
        known = {
            "psnr": ("PSNR", " dB", 1.0, 2, 0.2),
            "ssim": ("SSIM x 100", "", 100.0, 2, None),
            "ms_ssim": ("MS-SSIM x 100", "", 100.0, 2, None),
            "vif": ("VIF x 100", "", 100.0, 2, None),
            "lesion_contrast": ("Lesion contrast x 100", "", 100.0, 1, None),
        }
        label, unit, scale, digits, bound = known.get(name, (name.upper().replace("_", "-"), "", -1.0, 4, None))
        return cls(column, label + where, unit, scale, digits, bound)

    @property
    def sign(self) -> Literal[-1, 1]:
        """1 where higher is better, -1 where less is."""
        return 1 if self.scale > 0 else -1

    @property
    def heading(self) -> str:
        """The heading of a column; the caption tells the scale."""
        return self.label.removesuffix(" x 100")

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
