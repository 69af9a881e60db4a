"""How the learning rate changes from round to round: the contract of a schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass
class Schedule(ABC):
    """A dataclass whose fields are its options.

    Example:
        >>> @dataclass
        ... class Step(Schedule):
        ...     every: int = 40  # rounds, after which the rate is a tenth
        ...
        ...     def factor(self, round, rounds):
        ...         return 0.1 ** ((round - 1) // self.every)
        >>> Step(every=2).factor(round=3, rounds=10)
        0.1
    """

    @abstractmethod
    def factor(self, round: int, rounds: int) -> float:
        """What `trainer.lr` is multiplied by in a round, from 1, of so many."""
