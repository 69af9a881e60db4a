"""How far a run is: a line in its log for every site and round, and on a terminal a bar with the time left."""

from __future__ import annotations

import multiprocessing
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from ..records.store import Store

LINES = 5  # that a worker of a parallel sweep shows of a run, whose bars would overwrite each other


class Progress:
    """The trainer's progress for one run; use it as a context. Silent where standard error is no terminal."""

    def __init__(self, store: Store, run: str, folder: Path) -> None:
        self.store, self.run, self.log = store, run, (folder / "run.log").open("a")
        self.shown = sys.stderr.isatty()
        self.bars = self.shown and multiprocessing.current_process().name == "MainProcess"
        self.bar: tqdm | None = None
        self.round = 0

    def __enter__(self) -> Progress:
        return self

    def __call__(self, round: int, rounds: int, site: str, loss: float) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        print(f"{now} round {round}/{rounds} {site} loss {loss:.4g}", file=self.log, flush=True)
        if self.bars:
            if self.bar is None:
                form = "{desc} |{bar}| {n_fmt}/{total_fmt} rounds, {remaining} left{postfix}"
                self.bar = tqdm(total=rounds, initial=round - 1, desc=self.run, bar_format=form, leave=False)
            self.bar.set_postfix_str(f"{site} loss {loss:.3g}", refresh=False)
            self.bar.update(round - 1 - self.bar.n)
            self.bar.refresh()
        elif self.shown and round > self.round and round % max(1, rounds // LINES) == 0:
            print(f"{self.run}: round {round} of {rounds}, {site} loss {loss:.3g}", file=sys.stderr)
        if round > self.round:
            self.store.note(self.run, round, rounds)
            self.round = round

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()
        self.log.close()
