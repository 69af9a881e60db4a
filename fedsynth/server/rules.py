"""Server rules that withstand corrupt sites: coordinate-wise median and trimmed mean, Krum, clipping of the updates' norms.

They work on a stack of vectors `[K, N]`, one a site, with NaN where a site lacks a tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor


def trimmed_mean(stack: Tensor, corrupt: float) -> Tensor:
    """The mean of each coordinate without the floor(corrupt x n) largest and smallest of its n values (Yin et al., ICML 2018).

    `[N]`, NaN where no site has a value. With `corrupt` 0.5 it is the median; of an even number of values, the mean of the
    middle two.
    """
    ordered = stack.double().sort(0).values  # NaN comes last
    count = (~stack.isnan()).sum(0)
    cut = (corrupt * count).floor().long().minimum((count - 1).clamp(min=0) // 2)
    place = torch.arange(len(stack), device=stack.device)[:, None]
    kept = (place >= cut) & (place < count - cut)
    return torch.where(kept, ordered, 0).sum(0) / kept.sum(0)


def krum(stack: Tensor, corrupt: float) -> int:
    """The row whose squared distances to its n - f - 2 nearest others have the smallest sum, f = floor(corrupt x n) (Blanchard
    et al., NeurIPS 2017). A distance is over the coordinates in which both rows have values.

    Raises:
        ValueError: n is below 2 f + 3.
    """
    n, f = len(stack), int(corrupt * len(stack))
    if n < 2 * f + 3:
        raise ValueError(
            f"Krum with {f} corrupt of {n} sites in a round: it needs at least {2 * f + 3}; use more sites, a higher "
            "trainer.participation or a smaller trainer.corrupt"
        )
    gaps = torch.stack([(stack - row).nan_to_num().double().square().sum(1) for row in stack])
    gaps.fill_diagonal_(torch.inf)
    return int(gaps.sort(1).values[:, : n - f - 2].sum(1).argmin())


def clipped(stack: Tensor, reference: Tensor) -> Tensor:
    """The rows with their distance from `reference` `[N]` cut to the median distance of all rows (Sun et al. 2019 cut to a
    constant). `[K, N]`."""
    updates = stack - reference
    norms = updates.nan_to_num().double().norm(dim=1)
    bound = norms.quantile(0.5)
    factors = (bound / norms).nan_to_num(1.0).clamp(max=1.0)
    return reference + updates * factors[:, None].to(stack.dtype)
