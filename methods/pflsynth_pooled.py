"""pFLSynth without federation trains its network on all sites' slices in one place (Dalmaz et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .pooled import Pooled


@dataclass
class PFLSynthPooled(Pooled):
    """`pooled` on the personalised network, which reads the code of site and task: the released code's pFLSynth_cent."""

    published: ClassVar[str] = "personalised"
