"""The published schedule: constant in the first half of the rounds, then in a line towards 0."""

from __future__ import annotations

from dataclasses import dataclass

from .schedule import Schedule


@dataclass
class Linear(Schedule):
    """It is 1, and in the last n = rounds // 2 rounds n / (n + 1), ..., 2 / (n + 1), 1 / (n + 1).

    The released pFLSynth code begins to fall a round earlier and so ends with a round whose rate is 0: `released` is that.
    """

    def factor(self, round: int, rounds: int) -> float:
        return min(1.0, (rounds - round + 1) / (rounds // 2 + 1))
