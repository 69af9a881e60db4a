"""Which round a run is judged by: the one whose validation score is best, and beside it the last."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from ..evaluation import evaluate
from ..federation import Federation
from ..method import Method
from ..server import Server
from ..site import SiteState
from .outcome import Row, RunState, curve_row
from .snapshots import Snapshots, selected


class Selection:
    """Scores what the sites serve, all but the poisoned ones; keeps a snapshot of the best of the `rounds`, and notes in `state`
    which it is, whether the run diverged, and whether it ended below the floor."""

    def __init__(
        self,
        method: Method,
        server: Server,
        sites: Mapping[str, SiteState],
        federation: Federation,
        snapshots: Snapshots,
        state: RunState,
        rounds: int,
    ) -> None:
        self._method, self._server, self._sites, self._snapshots = method, server, sites, snapshots
        self._poisoned, self._state, self._rounds = federation.poisoned, state, rounds

    def validate(self, round: int, curve: dict[str, Row]) -> None:
        """Score the validation subjects after a round, put the sites' means into their rows of the curve, and select the round
        if it is the best."""
        started = time.perf_counter()
        for site in self._sites.values():
            site.enter(round)
        rows = self._score("val")
        for name, site in self._sites.items():
            if own := [row for row in rows if row["site"] in site.members]:
                row = curve.setdefault(name, curve_row(round, name))
                row["val_psnr"] = evaluate.mean_psnr(own)
                row["val_ssim"] = float(np.mean([row["ssim"] for row in own]))
        psnr = evaluate.mean_psnr(rows)
        if not math.isfinite(psnr):
            self._state.diverged = f"the validation score is not finite in round {round}"
        elif psnr > self._state.best_psnr:
            self._state.best_psnr, self._state.best_round = psnr, round
            self._snapshots.write(selected(round), {})
        if round == self._rounds and psnr < (floor := self._floor()):
            self._state.below_floor = (
                f"validation PSNR ends at {psnr:.2f} dB, below copying the source ({floor:.2f} dB)"
            )
        self._state.costs.evaluation_seconds += time.perf_counter() - started

    def scores(self, device: torch.device) -> list[Row]:
        """Score the test subjects after the last round and after the best, in which this leaves the sites; a row each.

        Of a run that diverged, the rows are those of the mean training image.
        """
        if self._state.diverged:
            feeds = [feed for site in self._sites.values() for feed in site.feeds.values()]
            last = selection = self._honest(
                row for feed in feeds for task in feed.tasks for row in evaluate.mean_image(feed, task, "test")
            )
        else:
            last = selection = self._score("test")
            if (best := self._state.best_round) != self._rounds:
                self._snapshots.recall(self._snapshots.read(selected(best), device), best)
                selection = self._score("test")
        both = (("selected", selection), ("last", last))
        return [{"selection": name} | row for name, rows in both for row in rows]

    def _floor(self) -> float:
        """The validation PSNR of copying the source, dB: what training must beat."""
        feeds = [feed for site in self._sites.values() for feed in site.feeds.values()]
        return evaluate.mean_psnr(
            self._honest(
                row for feed in feeds for task in feed.tasks for row in evaluate.copy_source(feed, task, "val")
            )
        )

    def _score(self, split: str) -> list[Row]:
        return self._honest(evaluate.score(self._method, self._server, self._sites, split))

    def _honest(self, rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if row["site"] not in self._poisoned]
