"""Stochastic gradient descent, with momentum and weight decay if they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .optimizer import Optimizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass
class SGD(Optimizer):
    """SGD, fused: v = momentum v + gradient + weight_decay w, then w = w - lr v.

    Many methods were published with it. The momentum stays at the site from round to round.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0  # of the squared norm of the weights, as a part of the gradient

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"optimizer.momentum is {self.momentum}; it must be a number from 0 to below 1")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"optimizer.weight_decay is {self.weight_decay}; it must be a number from 0")

    def make(self, parameters: list[Any], lr: float | Tensor) -> torch.optim.Optimizer:
        import torch  # as in Adam

        made = torch.optim.SGD(parameters, lr, self.momentum, weight_decay=self.weight_decay, fused=True)
        if self.momentum:  # from the start, as torch's fused step asks that all parameters of a player have it or none
            for group in made.param_groups:
                for parameter in group["params"]:
                    made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return made
