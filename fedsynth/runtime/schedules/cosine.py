"""Half a cosine from 1 towards 0 (Loshchilov and Hutter, SGDR, ICLR 2017), without restarts."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from .schedule import Schedule


@dataclass
class Cosine(Schedule):
    """(1 + cos(pi (round - 1) / rounds)) / 2, which begins at 1 and never reaches 0."""

    def factor(self, round: int, rounds: int) -> float:
        return (1 + cos(pi * (round - 1) / rounds)) / 2
