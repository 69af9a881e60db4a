"""How far a run is: a line in its log for every site and round, and a bar or lines with the time left for whoever waits."""

from __future__ import annotations

import multiprocessing
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from fedsynth.runtime.claim import check_claim
from fedsynth.runtime.progress import ProgressBar

from ...records.store import Store


class RunProgress:
    """The trainer's progress for one run of so many sites; use it as a context."""

    def __init__(self, store: Store, run: str, folder: Path, sites: int) -> None:
        self.store, self.run, self.folder, self.sites = store, run, folder, sites
        self.log = (folder / "run.log").open("a")
        self.began = time.time()
        self.bar: ProgressBar | None = None
        self.round, self.trained = 0, 0  # the round, and the sites that have trained in it

    def __enter__(self) -> RunProgress:
        return self

    def __call__(self, round: int, rounds: int, site: str, loss: float) -> None:
        check_claim(self.folder)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        print(f"{now} round {round}/{rounds} {site} loss {loss:.4g}", file=self.log, flush=True)
        if self.bar is None:
            self.bar = self.begin(round, rounds)
        if round > self.round:
            self.store.note(self.run, round, rounds)
            self.round, self.trained = round, 0
        self.trained += 1
        self.bar.set_postfix_str(f"{site} loss {loss:.3g}", refresh=False)
        self.bar.update(round - 1 + min(1.0, self.trained / self.sites) - self.bar.n)
        if not self.bar.by_line:
            self.bar.refresh()

    def begin(self, round: int, rounds: int) -> ProgressBar:
        """Bars of runs that share a terminal would overwrite each other: workers of a multirun print lines."""
        alone = multiprocessing.current_process().name == "MainProcess" and sys.stderr.isatty()
        form = "{desc} |{bar}| {n:.4g}/{total} rounds, {remaining} left{postfix}"
        bar = ProgressBar(
            desc=self.run,
            total=rounds,
            initial=round - 1,
            unit="round",
            bar_format=form,
            smoothing=0,
            by_line=not alone,
        )
        bar.start_t = self.began  # the time left counts from when the first of these sites began
        return bar

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()
        self.log.close()
