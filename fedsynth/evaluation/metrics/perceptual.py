"""How alike images look to a network, slice by slice and as sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def perceptual_distance(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    """A distance like LPIPS, `[B]`, of a network's feature maps, each `[B, C, H, W]`: features are scaled to length 1 at every
    place; their squared differences are summed over channels, averaged over places and summed over maps.

    It is equation 1 of Zhang et al. 2018 with every weight 1, so it is not the LPIPS of their released weights.
    """
    import torch  # not above: whoever looks for metrics imports all that lies here
    from torch.nn import functional as F

    pairs = [(F.normalize(a, dim=1), F.normalize(b, dim=1)) for a, b in zip(x, y, strict=True)]
    return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """A distance like FID of two sets of features, `[N, D]` and `[M, D]`, at least two each: the squared Fréchet distance of the
    Gaussians with their means and covariances, |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) (Heusel et al. 2017).

    With C_x = A'A and C_y = B'B, the trace of that root is the sum of the singular values of AB', which is exact also where D
    exceeds N.
    """
    a, b = ((set_ - set_.mean(0)) / np.sqrt(len(set_) - 1) for set_ in (x.astype(np.float64), y.astype(np.float64)))
    shift = np.square(x.mean(0, dtype=np.float64) - y.mean(0, dtype=np.float64)).sum()
    return float(shift + np.square(a).sum() + np.square(b).sum() - 2 * np.linalg.norm(a @ b.T, "nuc"))
