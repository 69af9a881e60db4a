"""Local training leaves every site to itself: the baseline that personalisation must beat."""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.exchange import Place
from fedsynth.method import Method


@dataclass
class Local(Method):
    """Nothing travels.

    What differs from the paper: there is none.

    What differs from the released code: there is none.
    """

    def travels(self, place: Place) -> bool:
        return False
