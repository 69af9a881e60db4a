"""Pooled training has all sites' slices in one place, which federation tries to match without moving them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .local import Local


@dataclass
class Pooled(Local):
    """All sites train as one, with as many local steps a round as all of them together. Each is scored by itself.

    Batches are those that the sites draw under every other method, in a common random order, each with its own site's code.

    What differs from the paper: there is none.

    What differs from the released code: there is none.
    """

    def federate(self, names: Sequence[str]) -> list[list[str]]:
        return [list(names)]
