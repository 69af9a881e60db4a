"""PSNR of arrays, for figures and look-up tables, without torch; `metrics.scores` takes it of tensors on their device."""

from __future__ import annotations

import numpy as np

PSNR_CAP = 60.0  # dB; also what identical images score


def psnr(prediction: np.ndarray, target: np.ndarray) -> float:
    """PSNR in dB of slices `[..., H, W]` in [0, 1], with a peak of 1, at most 60; the mean over slices."""
    error = ((prediction.astype(np.float64) - target) ** 2).mean((-2, -1))
    return float(np.minimum(-10 * np.log10(np.maximum(error, 1e-30)), PSNR_CAP).mean())
