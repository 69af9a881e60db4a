"""Trackers show a run while it trains. They see it, change nothing of it, and are no part of its identity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .records import Rows

if TYPE_CHECKING:
    from fedsynth.trainer import Trainer


class Tracking(Enum):
    """Which tracker a run has."""

    none = "none"
    tensorboard = "tensorboard"  # reads RESULTS/tensorboard


class Tracker:
    """What a run calls. This one looks at nothing; another is a subclass, a member of `Tracking` and a line in `tracker`."""

    def rounds(self, rows: Rows) -> None:
        """The rows of the curve (`records.CURVE`) of rounds that ended since the last call. After an interruption the first
        call has all rounds before it too."""

    def scores(self, rows: Rows, selected_round: int) -> None:
        """All test scores, as in `scores.csv`; the round that validation selected, 0 for a run that diverged."""

    def close(self) -> None:
        """The run ended, well or not."""


def tracker(tracking: Tracking, results: Path, run: str, identity: dict[str, Any]) -> Tracker:
    """The chosen one for a run of that name."""
    if tracking is Tracking.none:
        return Tracker()
    from .tensorboard import TensorBoard  # here, as it need not be installed

    return TensorBoard(results / "tensorboard" / run, identity)


def lacking(tracking: Tracking) -> str:
    """What is not installed that it needs; empty if nothing."""
    if tracking is Tracking.none or find_spec(tracking.value):
        return ""
    return f"tracker={tracking.value} needs a package that is not installed: pip install 'fedsynth[{tracking.value}]'"


@contextmanager
def followed(trainer: Trainer, by: Tracker) -> Iterator[None]:
    """Inside, the tracker sees each round of the trainer once a site has trained in the next one, the last when training ends."""
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
