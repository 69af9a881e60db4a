"""PSNR, SSIM, NMSE and MAE, over the slice and inside the foreground."""

from __future__ import annotations

import torch
from torch import Tensor

from .images import slice_mean, unit
from .psnr import PSNR_CAP
from .ssim import WINDOW, ssim_map

EVERY_SLICE = ("psnr", "ssim", "nmse", "mae")  # scores that every slice has; others are NaN for some slices


@torch.no_grad()
def scores(prediction: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Scores of each slice, float64 `[B]`, over the whole slice and (suffix `_fg`) inside the foreground.

    Images `[B, 1, H, W]` in [-1, 1] are mapped to [0, 1] and clipped; `mask` is bool `[B, H, W]`. `psnr` is in dB, at most 60,
    with a peak of 1 and never an image's own maximum; `ssim` is scikit-image's default, without the border where its window
    does not fit; `nmse` is |x - y|^2 / |y|^2; `mae` is on the [0, 1] scale. A score that is not defined is NaN: every `_fg`
    score of an empty foreground, and `nmse` of a target that is 0 everywhere.

    Raises:
        ValueError: The shapes do not fit each other, or slices are smaller than the window.
    """
    if prediction.shape != target.shape or mask.shape != target.shape[:1] + target.shape[2:] or target.shape[1] != 1:
        raise ValueError(
            f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)} and mask {tuple(mask.shape)} do not "
            "fit: [B, 1, H, W] twice and [B, H, W] were expected"
        )
    if min(target.shape[2:]) < WINDOW:
        raise ValueError(
            f"slices of {tuple(target.shape[2:])} pixels are smaller than SSIM's window of {WINDOW}x{WINDOW}"
        )
    x, y = unit(prediction, target)
    similarity = ssim_map(x, y)
    squares, distances, energies = (x - y).square(), (x - y).abs(), y.square()
    margin = WINDOW // 2
    inner = mask[:, margin:-margin, margin:-margin]
    result: dict[str, Tensor] = {}
    for suffix, inside, inside_map in (("", None, None), ("_fg", mask, inner)):
        error, energy = slice_mean(squares, inside), slice_mean(energies, inside)
        result |= {
            f"psnr{suffix}": decibels(error),
            f"ssim{suffix}": slice_mean(similarity, inside_map),
            f"nmse{suffix}": torch.where(energy > 0, error / energy, torch.nan),
            f"mae{suffix}": slice_mean(distances, inside),
        }
    return result


def decibels(error: Tensor) -> Tensor:
    """The PSNR of a mean squared error on the [0, 1] scale, dB."""
    return (-10 * torch.log10(error)).clamp(max=PSNR_CAP)
