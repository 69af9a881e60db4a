"""FedAdagrad uses Adagrad at the server (Reddi et al., ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .fedadam import FedAdam


@dataclass
class FedAdagrad(FedAdam):
    """FedAdam, but v sums what it has seen, v <- v + D^2. `beta1` is 0, as in the paper's experiments, and `beta2` is not used.

    The other options, their defaults and what differs are FedAdam's.
    """

    beta1: float = 0.0  # decay of the server's momentum m

    def second_moment(self, v: Tensor, change: Tensor) -> Tensor:
        return v + change.square()
