"""Trackers show a run while it trains. They change nothing of the run and are no part of its identity."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config.schema import Tracking
from ...records.record import TEXT, Rows
from ...records.score_table import mean_of_known

if TYPE_CHECKING:
    from fedsynth.trainer import Trainer


class Tracker:
    """The methods that a run calls. Here they do nothing. To add a tracker, write a subclass, give `Tracking` a member for it and
    return it from `tracker`."""

    def rounds(self, rows: Rows) -> None:
        """Take the rows of the curve (`records.CURVE`) of the rounds that ended since the last call. After an interruption, the
        first call has the rows of all rounds before it too."""

    def scores(self, rows: Rows, selected_round: int) -> None:
        """Take all test scores, as in `scores.csv`, and the round that validation selected, which is 0 if the run diverged."""

    def close(self) -> None:
        """The run has ended, well or not."""


def tracker(tracking: Tracking, results: Path, run: str, identity: dict[str, Any]) -> Tracker:
    """The chosen tracker for the run of that name."""
    if tracking is Tracking.none:
        return Tracker()
    return TensorBoard(results / "tensorboard" / run, identity)


@contextmanager
def followed(trainer: Trainer, by: Tracker) -> Iterator[None]:
    """Let the tracker see each round of the trainer. It sees a round once a site has trained in the next one, and the last round
    when training ends."""
    told, shown = 0, trainer.progress

    def tell() -> None:
        nonlocal told
        if new := trainer.state.curve[told:]:
            by.rounds(new)
            told += len(new)

    def progress(round: int, rounds: int, site: str, loss: float) -> None:
        shown(round, rounds, site, loss)
        tell()

    trainer.progress = progress
    try:
        yield
    finally:
        tell()
        by.close()


class TensorBoard(Tracker):
    """Writes a folder of event files for each run. Each column of the curve becomes a group of charts over rounds, one chart for
    each site. The mean test scores of the selected round become points at that round: a group for each metric, a chart for each
    site-task.

    When an interrupted run goes on, the folder is made anew, so that no round is in it twice.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter  # an extra that need not be installed

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
            for metric in (name for name in own[0] if name not in TEXT):
                place = f"test_{metric}/{site}_{task.replace('->', '-')}"
                self._point(place, mean_of_known([row[metric] for row in own]), selected_round)

    def close(self) -> None:
        self._writer.close()

    def _point(self, place: str, value: float, round: int) -> None:
        if math.isfinite(value):
            self._writer.add_scalar(place, value, round)
