"""One learning rate in all rounds."""

from __future__ import annotations

from dataclasses import dataclass

from .schedule import Schedule


@dataclass
class Constant(Schedule):
    """1 in every round."""

    def factor(self, round: int, rounds: int) -> float:
        return 1.0
