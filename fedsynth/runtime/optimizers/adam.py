"""Adam (Kingma and Ba, ICLR 2015) with the reference's moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .optimizer import Optimizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass
class Adam(Optimizer):
    """Adam, fused. The rates are those of the released pFLSynth code (Dalmaz et al. 2024) and of pix2pix."""

    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])  # the rates of decay of the two moments

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas is {self.betas}; it must be two numbers from 0 to below 1")

    def make(self, parameters: list[Any], lr: float | Tensor) -> torch.optim.Optimizer:
        import torch  # not above: who reads the options of a record needs none of it

        betas = (self.betas[0], self.betas[1])
        return torch.optim.Adam(parameters, lr, betas, fused=True, capturable=not isinstance(lr, float))
