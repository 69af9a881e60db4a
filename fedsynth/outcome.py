"""What a run found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = dict[str, Any]


@dataclass
class Outcome:
    """What a run found. `status` is "done", or "diverged": non-finite, or at the end worse than copying the source.

    `scores`: a row for each of the two selections ("selected" by validation, "last" round), site, task and test subject;
    a diverged run's are those of the mean training image. `validation_psnr`: of the selected round, dB, 0 for a diverged run.
    `curve`: a row a round and site. `gallery`: see `evaluate.gallery`. `execution`: how the local steps ran.
    `digest`: name -> SHA-256 of the final tensors of every site and of the server.
    """

    status: str
    reason: str
    scores: list[dict[str, Any]]
    curve: list[dict[str, Any]]
    selected_round: int
    validation_psnr: float
    gallery: dict[str, dict[str, np.ndarray]]
    costs: dict[str, float]
    policy: str
    execution: str
    digest: dict[str, str]


def curve_row(round: int, site: str, loss: float | None = math.nan) -> Row:
    """A site's row of the curve, as it is for one that is absent; with `loss` None where losses are to be filled in."""
    return {
        "round": round,
        "site": site,
        "loss_generator": loss,
        "loss_discriminator": loss,
        "val_psnr": math.nan,
        "val_ssim": math.nan,
        "bytes_up": 0,
        "bytes_down": 0,
        "seconds": 0.0,
        "gradient_evaluations": 0,
    }
