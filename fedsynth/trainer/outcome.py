"""How far a run is, what it found, and what it cost: bytes, seconds, operations, memory, gradient evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass
class Costs:
    """Sums over a run. They are saved with its checkpoint, so that a resumed run goes on counting.

    The `seconds_*` are the host's. A GPU works while the host goes on: there they say what the host did, and "waiting" how long
    it stood still; `fedsynth cost` measures what each part takes on the device.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0  # of training and exchange, without evaluation
    seconds_data: float = 0.0
    seconds_discriminators: float = 0.0
    seconds_generator: float = 0.0
    seconds_graphs: float = 0.0  # steps that are played back, of both players
    seconds_compiling: float = 0.0  # by torch.compile, or reading what it made before; no part of the floor share
    seconds_exchange: float = 0.0  # download, receive, upload
    seconds_aggregation: float = 0.0
    seconds_waiting: float = 0.0
    evaluation_seconds: float = 0.0
    flops: int = 0  # floating-point operations of all local steps, counted, not measured
    gradient_evaluations: int = 0  # backward passes, of every player
    rounds_with_too_few: int = 0  # uploads for the server rule: Krum kept a model, others were the plain mean
    peak_memory_bytes: int = 0

    def add(self, rows: Iterable[Mapping[str, Any]], flops: int, seconds: Mapping[str, float]) -> None:
        """Count a round: its rows of the curve, its operations, and its seconds by the part of the work."""
        for row in rows:
            self.bytes_up += row["bytes_up"]
            self.bytes_down += row["bytes_down"]
            self.gradient_evaluations += row["gradient_evaluations"]
        self.flops += flops
        for what, spent in seconds.items():
            setattr(self, f"seconds_{what}", getattr(self, f"seconds_{what}") + spent)

    def summary(self, rate: float) -> dict[str, float]:
        """All sums; `seconds_idle`, the seconds of no part; `matrix_rate`, the device's `rate` of matrix products (FLOP/s); and
        `floor_share`: the seconds that the operations would take at that rate, as a share of the seconds that training took."""
        sums = asdict(self)
        parts = sum(value for name, value in sums.items() if name.startswith("seconds_"))
        trained = self.seconds - self.seconds_compiling
        share = self.flops / rate / trained if trained else 0.0
        return sums | {"seconds_idle": max(0.0, self.seconds - parts), "matrix_rate": rate, "floor_share": share}


Row = dict[str, Any]


@dataclass
class RunState:
    """How far a run is; saved with its checkpoint. `diverged` says what was not finite, and `below_floor` how far the last
    validation lies below copying the source; both are empty in a run that did well."""

    round: int = 0
    diverged: str = ""
    below_floor: str = ""
    best_round: int = 0
    best_psnr: float = -math.inf
    hardware: list[str] = field(default_factory=list)  # on which it trained, one after another
    curve: list[Row] = field(default_factory=list)
    costs: Costs = field(default_factory=Costs)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Become what was saved as a dict."""
        vars(self).update(saved, costs=Costs(**saved["costs"]))


@dataclass
class Outcome:
    """What a run found.

    Args:
        status: "done"; or "diverged", if a loss or a score was not finite.
        reason: Why it diverged, or how far it ended below the floor; else "".
        below_floor: Whether the last validation of a run that is done lies below copying the source.
        scores: A row for each of the two selections ("selected" by validation, and the "last" round), site, task and test
            subject, and for each probe (evaluation/generalisation.py). A diverged run has the scores of the mean training image.
        curve: A row for each round and site.
        selected_round: The round with the best validation score; 0 if the run diverged.
        validation_psnr: Of the selected round, dB; 0 if the run diverged.
        gallery: Some test slices and what the sites made of them (`evaluate.gallery`).
        costs: The sums of `Costs`, and the numbers of parameters.
        policy: What happens to the running statistics of the normalisation, for the captions of tables.
        execution: How the local steps ran.
        digest: Name -> the SHA-256 of the final tensors of each site and of the server.
    """

    status: str
    reason: str
    below_floor: bool
    scores: list[Row]
    curve: list[Row]
    selected_round: int
    validation_psnr: float
    gallery: dict[str, dict[str, np.ndarray]]
    costs: dict[str, float]
    policy: str
    execution: str
    digest: dict[str, str]


def curve_row(round: int, site: str, loss: float | None = math.nan) -> Row:
    """A site's row of the curve, as it is for a site that is absent; with `loss` None where losses are to be filled in."""
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
