"""FedYogi uses Yogi at the server (Reddi et al., ICLR 2021).

Paper: https://arxiv.org/abs/2003.00295
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .fedadam import FedAdam


@dataclass
class FedYogi(FedAdam):
    """FedAdam, but v moves towards D^2 by at most (1 - beta2) D^2: v <- v - (1 - beta2) D^2 sign(v - D^2).

    The options and their defaults are FedAdam's.

    What differs from the paper: the same as in FedAdam.

    What differs from the released code: the same as in FedAdam; and v starts there at 0, here at tau^2.
    """

    def second_moment(self, v: Tensor, change: Tensor) -> Tensor:
        square = change.square()
        return v - (1 - self.beta2) * square * (v - square).sign()
