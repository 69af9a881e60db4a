"""Registration."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import numpy as np


class Registration(Enum):
    none = "none"
    rigid = "rigid"  # 6 degrees of freedom
    affine = "affine"  # 12


class Quality(NamedTuple):
    """How one registration went. `_asdict()` gives a dict."""

    mi_before: float  # normalised mutual information inside the fixed volume's head, 1 (independent) to 2 (identical)
    mi_after: float
    dice_before: float  # overlap of the two heads where both volumes reach, 0 to 1
    dice_after: float
    motion: np.ndarray  # float64 [4, 4], mm: a point of the fixed volume's world -> the same point in this one's
    poor: bool
