"""The losses of the published objective: least-squares adversarial and mean absolute error."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def lsgan(prediction: Tensor, real: bool) -> Tensor:
    """Mean squared distance of a discriminator's scores, any shape, from 1 (real) or 0 (Mao et al. 2017)."""
    return F.mse_loss(prediction, torch.ones_like(prediction) if real else torch.zeros_like(prediction))


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two images of one shape."""
    return F.l1_loss(prediction, target)
