"""Adam (Kingma and Ba, ICLR 2015) with the reference's moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .optimizer import Optimizer


@dataclass
class Adam(Optimizer):
    """Adam, fused. The rates are those of the released pFLSynth code (Dalmaz et al. 2024) and of pix2pix."""

    betas: list[float] = field(default_factory=lambda: [0.5, 0.999])  # the rates of decay of the two moments

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas is {self.betas}; it must be two numbers from 0 to below 1")

    def make(self, parameters: list[Any], lr: float | Tensor) -> torch.optim.Optimizer:
        betas = (self.betas[0], self.betas[1])
        return torch.optim.Adam(parameters, lr, betas, fused=True, capturable=isinstance(lr, Tensor))
