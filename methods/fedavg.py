"""FedAvg averages the sites' models into one (McMahan et al., AISTATS 2017).

Paper: https://arxiv.org/abs/1602.05629
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.method import Method


@dataclass
class FedAvg(Method):
    """The whole generator travels. The server takes the mean, weighted by training slices. These are the contract's defaults.

    What differs from the paper: nothing but what all methods share: `tests/support/oracles/averages.py` says it in plain
    torch, `tests/methods/test_oracles.py` follows three rounds of both; `tests/methods/test_identities.py` holds the mean to its
    definition and one site alone to local training.

    What differs from the released code: the authors released none with the paper.
    """
