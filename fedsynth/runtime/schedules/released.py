"""The schedule of pFLSynth's released code, which falls a round earlier than the published one and ends at 0."""

from __future__ import annotations

from dataclasses import dataclass

from .schedule import Schedule


@dataclass
class Released(Schedule):
    """It is 1, and in the last n + 1 rounds, n = rounds // 2, n / (n + 1), ..., 1 / (n + 1), 0, at which nothing moves."""

    def factor(self, round: int, rounds: int) -> float:
        return min(1.0, (rounds - round) / (rounds // 2 + 1))
