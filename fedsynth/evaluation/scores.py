"""The scores of a batch of slices by every metric, on the images' device and without waiting for the host."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..runtime.metric import ImageMetric, MetricError, Region
from .columns import installed_metrics, metric_columns

LEAST = 16  # pixels of lesion that a slice needs to be scored there


@torch.no_grad()
def scores(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    lesions: Tensor | None = None,
    metrics: Mapping[str, ImageMetric] | None = None,
) -> dict[str, Tensor]:
    """Scores of each slice by column, float64 `[B]`; NaN where one is not defined.

    Args:
        prediction: `[B, 1, H, W]` in [-1, 1]. It is mapped to [0, 1] in single precision and clipped.
        target: The same.
        mask: The foreground, bool `[B, H, W]`; without it there are no scores inside it.
        lesions: Masks of lesions in the same form. Slices with fewer than 16 pixels of them have no score there.
        metrics: By name; by default all that are registered.

    Raises:
        ValueError: The shapes do not fit each other, or slices are smaller than SSIM's window.
        MetricError: A metric does not return one score a slice.
    """
    shape = target.shape[:1] + target.shape[2:]
    known = [own for own in (mask, lesions) if own is not None]
    if prediction.shape != target.shape or target.shape[1] != 1 or any(own.shape != shape for own in known):
        found = ", ".join(str(tuple(own.shape)) for own in (prediction, target, *known))
        raise ValueError(f"images and masks of {found} do not fit: [B, 1, H, W] twice and then [B, H, W] were expected")
    x, y = (((image.float() + 1) / 2).clamp(0, 1).double() for image in (prediction, target))
    masks = {Region.slice: torch.ones(shape, dtype=torch.bool, device=target.device)}
    if mask is not None:
        masks[Region.foreground] = mask
    if lesions is not None:
        masks[Region.lesions] = lesions & (lesions.sum((1, 2)) >= LEAST)[:, None, None]
    there = {region: own.flatten(1).any(1) for region, own in masks.items() if region is not Region.slice}
    result: dict[str, Tensor] = {}
    for name, metric in (installed_metrics() if metrics is None else metrics).items():
        values = metric.by_region(x, y, masks)
        for column, region in metric.columns(name).items():
            if region in values:
                value = _checked(column, metric, values[region], len(target))
                result[column] = value.where(there[region], torch.nan) if region in there else value
    return result


def _checked(column: str, metric: ImageMetric, value: object, slices: int) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != (slices,):
        found = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise MetricError(
            f"{column}: {type(metric).__module__}.{type(metric).__name__} returned {found} for {slices} slices; it must return "
            f"one score a slice, a tensor of shape [{slices}]"
        )
    return value.double()


def check_metrics(height: int, width: int) -> None:
    """Try every registered metric on two slices of noise, so that one that breaks its contract ends no run after its training.

    Raises:
        RegistryError: Two metrics fill one column.
        MetricError: A metric lacks a direction or a range, returns something else than a score a slice, or leaves its range.
    """
    columns = metric_columns()
    for column, (metric, _, _) in columns.items():
        if getattr(metric, "better", "") not in ("higher", "lower") or len(getattr(metric, "range", ())) != 2:
            raise MetricError(
                f'{column}: {type(metric).__module__}.{type(metric).__name__} must say what is `better`, "higher" or '
                '"lower", and its `range`, the least and the largest score that there can be'
            )
    noise = torch.rand(2, 2, 1, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = noise[0, :, 0] > -0.5
    for column, values in scores(noise[0], noise[1], mask, mask).items():
        for value in values.tolist():
            columns[column].check(column, value, "a slice of noise")
