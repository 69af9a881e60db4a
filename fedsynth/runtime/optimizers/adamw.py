"""AdamW (Loshchilov and Hutter, ICLR 2019): Adam whose weight decay is no part of the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .adam import Adam

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass
class AdamW(Adam):
    """AdamW, fused. Every step makes each weight smaller by the rate times `weight_decay`."""

    weight_decay: float = 1e-2  # torch's default

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"optimizer.weight_decay is {self.weight_decay}; it must be a number from 0")

    def make(self, parameters: list[Any], lr: float | Tensor) -> torch.optim.Optimizer:
        import torch  # as in Adam

        betas, capturable = (self.betas[0], self.betas[1]), not isinstance(lr, float)
        return torch.optim.AdamW(
            parameters, lr, betas, weight_decay=self.weight_decay, fused=True, capturable=capturable
        )
