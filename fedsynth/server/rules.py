"""Server rules that withstand corrupt sites: coordinate-wise median and trimmed mean, Krum, clipping of the updates' norms.

They work on a stack of vectors `[K, N]`, one a site, with NaN where a site lacks a tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..federation import count_of
from ..runtime.options import ServerRule


def has_effect(rule: ServerRule, corrupt: float, count: int) -> bool:
    """Whether a rule makes anything of so many uploads; if not, Krum has too few, and any other robust rule is the plain mean."""
    match rule:
        case ServerRule.mean:
            return True
        case ServerRule.krum:
            return count >= fewest_for_krum(corrupt, count)
        case ServerRule.norm_clip:
            return count > 1  # one length is its own median
        case _:
            return trimmed(0.5 if rule is ServerRule.median else corrupt, count) > 0


def trimmed(corrupt: float, count: int) -> int:
    """How many of so many values a trimmed mean leaves out at each end: as many as sites may be corrupt, but never all values."""
    return min(count_of(corrupt, count), max(count - 1, 0) // 2)


def trimmed_mean(stack: Tensor, corrupt: float) -> Tensor:
    """The mean of each coordinate without its `trimmed` largest and smallest values (Yin et al., ICML 2018).

    `[N]`, NaN where no site has a value. With `corrupt` 0.5 it is the median; of an even number of values, the mean of the
    middle two.
    """
    ordered = stack.double().sort(0).values  # NaN comes last
    count = (~stack.isnan()).sum(0)
    cut = torch.tensor([trimmed(corrupt, n) for n in range(len(stack) + 1)], device=stack.device)[count]
    place = torch.arange(len(stack), device=stack.device)[:, None]
    kept = (place >= cut) & (place < count - cut)
    return torch.where(kept, ordered, 0).sum(0) / kept.sum(0)


def fewest_for_krum(corrupt: float, count: int) -> int:
    """How many uploads Krum needs where a share of so many may be corrupt: 2 f + 3."""
    return 2 * count_of(corrupt, count) + 3


def krum(stack: Tensor, corrupt: float) -> int:
    """The row whose squared distances to its n - f - 2 nearest others have the smallest sum, where f of the n rows may be corrupt
    (Blanchard et al., NeurIPS 2017). A distance is the mean over the coordinates in which both rows have values, so that a row
    with few values is not nearer than others; rows without a common coordinate are infinitely far apart. n is at least
    `fewest_for_krum`."""
    n, f = len(stack), count_of(corrupt, len(stack))
    gaps = torch.stack([(stack - row).double().square().nanmean(1) for row in stack]).nan_to_num(torch.inf)
    gaps.fill_diagonal_(torch.inf)
    return int(gaps.sort(1).values[:, : n - f - 2].sum(1).argmin())


def clipped(stack: Tensor, reference: Tensor) -> Tensor:
    """The rows with their distance from `reference` `[N]` cut to the median distance of all rows (Sun et al. 2019 cut to a
    constant). A distance is the root mean square over the coordinates in which a row has values. `[K, N]`."""
    updates = stack - reference
    norms = updates.double().square().nanmean(1).nan_to_num().sqrt()
    bound = norms.quantile(0.5)
    factors = (bound / norms).nan_to_num(1.0).clamp(max=1.0)
    return reference + updates * factors[:, None].to(stack.dtype)
