"""Runs in TensorBoard: `fedsynth run tracker=tensorboard ...`, then `tensorboard --logdir results/tensorboard`."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from .means import mean
from .records import METRICS, Rows
from .tracker import Tracker


class TensorBoard(Tracker):
    """A folder of event files a run. Each column of the curve is a group of charts over rounds, a chart a site; the mean test
    scores of the selected round are points at that round, a group a metric, a chart a site-task.

    The folder is made anew when a run goes on, so that no round is in it twice.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        if folder.exists():
            shutil.rmtree(folder)
        self._writer = SummaryWriter(folder)
        self._writer.add_text("identity", "    " + json.dumps(identity, indent=1).replace("\n", "\n    "))

    def rounds(self, rows: Rows) -> None:
        for row in rows:
            for column, value in row.items():
                if column not in ("round", "site"):
                    self._point(f"{column}/{row['site']}", value, row["round"])
        self._writer.flush()

    def scores(self, rows: Rows, selected_round: int) -> None:
        chosen = [row for row in rows if row["selection"] == "selected"]
        for site, task in dict.fromkeys((row["site"], row["task"]) for row in chosen):
            own = [row for row in chosen if (row["site"], row["task"]) == (site, task)]
            for metric in METRICS:
                place = f"test_{metric}/{site}_{task.replace('->', '-')}"
                self._point(place, mean(row[metric] for row in own), selected_round)

    def close(self) -> None:
        self._writer.close()

    def _point(self, place: str, value: float, round: int) -> None:
        if math.isfinite(value):
            self._writer.add_scalar(place, value, round)
