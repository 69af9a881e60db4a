"""FedAvg: one model, averaged (McMahan et al., AISTATS 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.method import Method


@dataclass
class FedAvg(Method):
    """The whole generator travels; the server takes the mean weighted by training slices. The contract's defaults."""
