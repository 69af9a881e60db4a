"""FedMean is FedAvg with the same weight for every site (Fiszer et al., Biomedical Signal Processing and Control, 2026).

Paper: https://doi.org/10.1016/j.bspc.2026.109649
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fedavg import FedAvg


@dataclass
class FedMean(FedAvg):
    """The whole generator travels. The server takes the plain mean of the sites that took part, however many slices they have.

    What differs from the paper: it could be read in its abstract alone; the rule is that of the authors' public code.

    What differs from the released code: nothing but what all methods share: `tests/support/oracles/averages.py` says it in plain
    torch, and `tests/methods/test_oracles.py` follows three rounds of both. Buffers have equal weights too, as there.
    """

    equal_weights: ClassVar[bool] = True
    weighs: ClassVar[bool] = True
