"""How close a synthesised slice is to the real one. Batched, on the images' device, without waiting for the host."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW = 7  # scikit-image's default: a uniform window of 7x7 pixels and the sample covariance
C1, C2 = 0.01**2, 0.03**2  # Wang et al. 2004, for images in [0, 1]
PSNR_CAP = 60.0  # dB; also what identical images score


@torch.no_grad()
def scores(prediction: Tensor, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Scores of each slice, float64 `[B]`, over the whole slice and (suffix `_fg`) inside the foreground.

    Images `[B, 1, H, W]` in [-1, 1] are mapped to [0, 1] and clipped, `mask` is bool `[B, H, W]`. `psnr` in dB, at most
    60, with a peak of 1, never of an image's maximum; `ssim` as scikit-image's default, without the border that its
    window overhangs; `nmse` = |x - y|^2 / |y|^2; `mae` on the [0, 1] scale. A score that is not defined is NaN: every
    `_fg` score of an empty foreground, `nmse` of an all-zero target. Raises ValueError for slices smaller than the window.
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
    x, y = (((image[:, 0].float() + 1) / 2).clamp(0, 1).double() for image in (prediction, target))
    similarity = ssim_map(x, y)
    squares, distances, energies = (x - y).square(), (x - y).abs(), y.square()
    margin = WINDOW // 2
    inner = mask[:, margin:-margin, margin:-margin]
    result: dict[str, Tensor] = {}
    for suffix, inside, inside_map in (("", None, None), ("_fg", mask, inner)):
        error, energy = _mean(squares, inside), _mean(energies, inside)
        result |= {
            f"psnr{suffix}": (-10 * torch.log10(error)).clamp(max=PSNR_CAP),
            f"ssim{suffix}": _mean(similarity, inside_map),
            f"nmse{suffix}": torch.where(energy > 0, error / energy, torch.nan),
            f"mae{suffix}": _mean(distances, inside),
        }
    return result


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity at every place of the window, `[B, H, W]` in [0, 1] to `[B, H - 6, W - 6]`.

    In double precision, because a variance is a small difference of large sums where an image is bright and smooth.
    """
    pixels = WINDOW**2
    mean_x, mean_y = _window_sum(x) / pixels, _window_sum(y) / pixels
    sample = pixels / (pixels - 1)
    variances = sample * (_window_sum(x * x + y * y) / pixels - mean_x**2 - mean_y**2)
    covariance = sample * (_window_sum(x * y) / pixels - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance * (2 * covariance + C2) / (variances + C2)


def _window_sum(image: Tensor) -> Tensor:
    """Sums over all windows that lie inside the image, as shifted views: several times faster than pooling on a CPU."""
    for axis in (1, 2):
        length = image.shape[axis] - WINDOW + 1
        image = sum((image.narrow(axis, shift, length) for shift in range(1, WINDOW)), image.narrow(axis, 0, length))
    return image


def _mean(values: Tensor, inside: Tensor | None) -> Tensor:
    """Mean of each slice over the places inside, NaN where there are none; over the whole slice for None."""
    if inside is None:
        return values.mean((1, 2))
    return torch.where(inside, values, 0).sum((1, 2)) / inside.sum((1, 2))
