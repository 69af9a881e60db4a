"""The gallery: what every row of a table made of the same slice, and where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fedsynth.evaluation.metrics.psnr import psnr

from ..plotted_row import PlottedRow
from ..style import style
from .tile_grid import TileGrid

STEP = 0.05  # the end of an error scale is a multiple of it


def draw_gallery(rows: Sequence[PlottedRow], site_task: str, columns: int, subject: int = 0) -> Figure:
    """What every row made of a test slice of a "site/task", with its absolute error and the slice's PSNR below it.

    All errors share a colour scale, which ends at their 99.5th percentile. At least one row must have images.
    """
    known = next(row.gallery[site_task] for row in rows if site_task in row.gallery)
    target = known["target"][subject]
    outputs = {row: row.gallery[site_task]["prediction"][subject] for row in rows if site_task in row.gallery}
    end = error_scale_end(list(outputs.values()), target)
    source_contrasts, target_contrast = site_task.rpartition("/")[2].split("->")
    with style():
        grid = TileGrid.of(target.shape, columns, 2 + len(rows), [row.title for row in rows])
        grid.show(0, known["source"][subject], f"source {source_contrasts.partition('+')[0]}")
        grid.show(1, target, f"target {target_contrast}")
        for number, row in enumerate(rows, start=2):
            if row in outputs:
                output = outputs[row]
                grid.show(number, output, row.title)
                grid.show_error(
                    number, np.abs(output / 255 - target / 255), end, f"{slice_psnr(output, target):.1f} dB"
                )
            else:
                why = "diverged" if row.runs[0].record.status == "diverged" else "no image"
                grid.show_blank(number, why, row.label)
        grid.show_error_scale(end, "absolute error, intensities in [0, 1]")
    return grid.figure


def error_scale_end(outputs: Sequence[np.ndarray], target: np.ndarray) -> float:
    """Where the scale of absolute errors ends: their 99.5th percentile, rounded up to a multiple of STEP.

    Images have grey values from 0 to 255; errors are on the scale from 0 to 1.
    """
    errors = np.stack([np.abs(output / 255 - target / 255) for output in outputs])
    return round(max(STEP, STEP * math.ceil(np.percentile(errors, 99.5) / STEP)), 2)


def slice_psnr(output: np.ndarray, target: np.ndarray) -> float:
    """PSNR in dB of a slice, from its grey values 0 to 255."""
    return psnr(output[None] / 255, target[None] / 255)
