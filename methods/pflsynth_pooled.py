"""pFLSynth without federation trains its network on all sites' slices in one place (Dalmaz et al. 2024).

Paper: https://doi.org/10.1016/j.media.2024.103121
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .pooled import Pooled


@dataclass
class PFLSynthPooled(Pooled):
    """`pooled` on the personalised network, which reads the code of site and task: the released code's pFLSynth_cent.

    What differs from the paper: its text was not at hand.

    What differs from the released code: that code tells the site of a slice by the slice's place among the training slices of
    all, also for validation and test slices; here every slice comes with its own site's code. The rest as in `pflsynth`. It has
    no oracle of its own: `tests/methods/test_pooled.py` holds it to `pooled` on this network, bit for bit.
    """

    published: ClassVar[str] = "personalised"
