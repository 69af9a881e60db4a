"""The scores that are too costly for every validated round, and those inside lesions."""

from __future__ import annotations

import torch
from torch import Tensor

from .images import unit
from .lesions import lesion_scores
from .ms_ssim import ms_ssim
from .sharpness import hf_nmse
from .vif import vif


@torch.no_grad()
def details(prediction: Tensor, target: Tensor, mask: Tensor, lesions: Tensor | None = None) -> dict[str, Tensor]:
    """More scores of the slices that `scores` takes, float64 `[B]`: `hf_nmse`, `ms_ssim` and `vif`; and, inside `lesions`, bool
    `[B, H, W]`, `psnr_lesion`, `nmse_lesion`, `mae_lesion` and `lesion_contrast`. A score that is not defined is NaN.

    They are computed in single precision, which is within 1e-4 of double precision (tests/metrics/test_details.py).
    """
    x, y = (image.float() for image in unit(prediction, target))
    found = {"hf_nmse": hf_nmse(x, y), "ms_ssim": ms_ssim(x, y), "vif": vif(x, y)}
    found |= lesion_scores(x, y, mask, lesions)
    return {name: value.double() for name, value in found.items()}
