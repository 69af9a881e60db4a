"""FedAdagrad uses Adagrad at the server (Reddi et al., ICLR 2021).

Paper: https://arxiv.org/abs/2003.00295
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .fedadam import FedAdam


@dataclass
class FedAdagrad(FedAdam):
    """FedAdam, but v sums what it has seen, v <- v + D^2. `beta1` is 0, as in the paper's experiments, and `beta2` is not used.

    The other options and their defaults are FedAdam's.

    What differs from the paper: the same as in FedAdam.

    What differs from the released code: the same as in FedAdam; and v starts there at 0, here at tau^2.
    """

    beta1: float = 0.0  # decay of the server's momentum m

    def second_moment(self, v: Tensor, change: Tensor) -> Tensor:
        return v + change.square()
