"""Tasks: which contrast is synthesised from which, and the code that tells a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

CONTRASTS = ("T1", "T2", "PD", "FLAIR")  # the order of the code's one-hots; other contrasts follow, by name


class FederationError(ValueError):
    """The data or the scenario cannot be what was asked for; the message says what to change."""


def contrast_order(contrasts: Iterable[str]) -> tuple[str, ...]:
    """The contrasts, once each, in the order of the code's one-hots."""
    used = set(contrasts)
    return tuple(c for c in CONTRASTS if c in used) + tuple(sorted(used - set(CONTRASTS)))


@dataclass(frozen=True, order=True)
class Task:
    """What is synthesised from what, both contrasts of the same slice.

    Args:
        source: The contrast that is given, such as "T1"; or several, such as "T1+T2", which are put into the order of the code.
        target: The contrast that is synthesised.

    Example:
        >>> task = Task.parse("T2+T1->PD")
        >>> str(task), task.sources, task.target
        ('T1+T2->PD', ('T1', 'T2'), 'PD')
    """

    source: str
    target: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", "+".join(contrast_order(self.source.split("+"))))

    def __str__(self) -> str:
        return f"{self.source}->{self.target}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The contrasts that are given."""
        return tuple(self.source.split("+"))

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The sources, then the target."""
        return (*self.sources, self.target)

    @classmethod
    def parse(cls, text: str) -> Task:
        """The task that is written `T1->T2` or, with several sources, `T1+T2->PD`.

        Raises:
            FederationError: The text is not of this form, or names a contrast twice.
        """
        source, arrow, target = (part.strip() for part in text.partition("->"))
        contrasts = [*(part.strip() for part in source.split("+")), target]
        if not (arrow and all(contrasts)) or len(set(contrasts)) < len(contrasts) or "." in text or "+" in target:
            raise FederationError(
                f"task {text!r} is not of the form SOURCE->TARGET or SOURCE+SOURCE->TARGET with different contrasts, such as "
                "T1->T2 or T1+T2->PD"
            )
        return cls("+".join(contrasts[:-1]), target)


class Columns(NamedTuple):
    """The columns of a code: a one-hot for the site, then one for the sources (several 1s if there are several), then one for the
    target.

    Args:
        sites: How many columns the site has.
        contrasts: How many columns the sources have, and the target.
        sources: The contrasts that are the channels of `Batch.source`, by their places among the contrasts; empty where every
            task has one source, which is then the only channel.
    """

    sites: int
    contrasts: int
    sources: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """How many columns a code has."""
        return self.sites + 2 * self.contrasts

    @property
    def channels(self) -> int:
        """How many channels `Batch.source` has."""
        return len(self.sources) or 1
