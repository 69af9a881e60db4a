"""`fedsynth sweep`: every cell of an experiment's grids, each in a process of its own.

A process that dies takes no other process down, and the sweep notes its end. A sweep tries no cell twice. If the first cells all
fail for the same reason, the sweep stops. It leaves a cell that another process is training to that process, waits for it at the
end, and trains it itself should the process die.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from joblib import cpu_count
from tqdm import tqdm

from ..config.compose import load_choices
from ..config.errors import OptionError
from ..config.explain import explained
from ..config.grid import Cell, cells
from ..config.overrides import results_override
from ..records.record import RecordError
from ..records.store import FINISHED, State, Store
from ..records.text_table import how_many
from .processes import FinishedCell, ProcessPool
from .status import count_states, status_of
from .training.estimate import Forecast, spelt
from .training.execute import REFRESH, check_available, tell

ALIKE = 4  # failures of one kind, without a success, that end a sweep
UNKNOWN = "no estimate yet"
STORAGE = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)))


def main(overrides: Sequence[str], jobs: int | None, dry: bool, results: Path | None, command: str) -> int:
    """Train what is missing. Returns 0 if every cell has its record, 1 if not, 130 if it was interrupted. Raises OptionError,
    before anything is trained, for a cell that cannot be run."""
    load_choices()
    with explained():
        sweep = Sweep(cells([*overrides, *results_override(results)]), jobs)
    if sweep.store.claiming:
        tell(sweep.store.claiming)
    tell(sweep.plan())
    return 0 if dry else sweep.go(command)


class Sweep:
    """The cells of an experiment, and how far each one is."""

    def __init__(self, planned: Sequence[Cell], jobs: int | None) -> None:
        stores = {cell.run.results for cell in planned}
        if len(stores) > 1:
            raise OptionError(f"a sweep has one store, and these cells have {len(stores)}: {', '.join(sorted(stores))}")
        self.cells, self.store = planned, Store(Path(stores.pop()))
        self.threads = max(cell.run.trainer.threads for cell in planned)
        self.forecast = Forecast(self.store)
        states = {cell.name: self.state(cell) for cell in planned}
        order = (State.unfinished, State.damaged, None, State.failed)  # first what was begun, last what may fail again
        self.missing = [cell for state in order for cell in planned if states[cell.name] is state]
        self.jobs = min(jobs or max(1, cores() // self.threads), max(1, len(self.missing)))
        self.failed: dict[str, str] = {}  # run -> why it failed in this sweep
        self.trained = 0  # cells that this sweep trained to a record
        self.stopped = ""  # why the sweep ends early
        self.waiting = False  # whether it was said that the sweep waits for others

    def state(self, cell: Cell) -> State | None:
        status = status_of(self.store, cell.name)
        return status.state if status else None

    def plan(self) -> str:
        """How many cells there are, how many are missing, and how long those may take."""
        told = f"{how_many(len(self.cells), 'cell')}, all checked: {self.counts()}"
        if not self.missing:
            return told
        return f"{told}\n{len(self.missing)} to train, {self.jobs} at a time: {self.time(self.missing)}"

    def counts(self) -> str:
        """The number of cells in each state, in words."""
        return count_states([self.state(cell) for cell in self.cells])

    def time(self, left: Sequence[Cell]) -> str:
        """How long these cells may take, in words."""
        guesses = {cell.name: self.forecast.seconds(cell.identity) for cell in left}
        known = [seconds for seconds in guesses.values() if seconds is not None]
        if not known:
            return UNKNOWN
        each = [self.share(cell) * (guesses[cell.name] or sum(known) / len(known)) for cell in left]
        return f"about {spelt(max(sum(each) / self.jobs, *each))}"

    def ahead(self, left: Sequence[Cell]) -> str:
        """The time left, in words; empty if no cell is left."""
        told = self.time(left) if left else ""
        return f"{told} left" if told not in ("", UNKNOWN) else told

    def share(self, cell: Cell) -> float:
        """The share of its rounds that a cell still has to train."""
        if cell.name not in self.store:
            return 1.0
        where = self.store.status(cell.name)
        return 1.0 - max(0, where.round - 1) / where.rounds if where.rounds else 1.0

    def go(self, command: str) -> int:
        """Train what is missing and print how it ended. Returns 0 if every cell has its record, 1 if not, 130 if it was
        interrupted, 2 if the store cannot be written. Raises OptionError, before anything is trained, for a cell that asks for
        what this machine lacks."""
        check_available(self.missing)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self.store.runs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.store.runs) as file:
                file.write(bytes(4096))
        except OSError as error:
            tell(f"fedsynth: {self.store.runs} cannot be written: {error}")
            return 2
        try:
            self.run()
        except KeyboardInterrupt:
            self.stopped = "interrupted"
        except (OSError, EOFError) as error:  # no process can be started, or the store can no longer be read
            self.stopped = f"{type(error).__name__}: {error}"
        self.end(command)
        return 130 if self.stopped == "interrupted" else int(bool(self.left()))

    def left(self) -> list[Cell]:
        """The cells that have no record."""
        return [cell for cell in self.cells if self.state(cell) not in FINISHED]

    def run(self) -> None:
        """Train what is missing, until every cell was tried or it makes no sense to go on."""
        queue, elsewhere = self.missing[::-1], [cell for cell in self.cells if self.state(cell) is State.running]
        form = "{n_fmt} of {total_fmt} cells |{bar}| {elapsed}{postfix}"
        with (
            ProcessPool(self.threads) as pool,
            tqdm(total=len(queue), bar_format=form, disable=None, file=sys.stderr) as self.bar,
        ):
            while queue or pool.jobs or elsewhere:
                while queue and len(pool.jobs) < self.jobs:
                    cell = queue.pop()
                    if (state := self.state(cell)) is State.running:
                        elsewhere.append(cell)
                    elif state not in FINISHED:  # by another sweep, meanwhile
                        pool.start(cell)
                for finished in pool.wait(REFRESH) if pool.jobs else ():
                    if finished.ending.state is State.running:
                        elsewhere.append(finished.cell)
                    self.note(finished, [*queue, *(job.cell for job in pool.jobs)])
                if self.stopped:
                    return
                if not queue and not pool.jobs:
                    queue, elsewhere = self.abandoned(elsewhere)
                left = [*queue, *(job.cell for job in pool.jobs)]
                self.bar.set_postfix_str(self.ahead(left))

    def abandoned(self, elsewhere: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
        """Of the cells that other processes work on, those whose process has died, and those whose is still at work. Waits a
        while where there are only such: were this a job that a scheduler began again, nobody else would come back to them."""
        states = {cell.name: self.state(cell) for cell in elsewhere}
        running = [cell for cell in elsewhere if states[cell.name] is State.running]
        dead = [cell for cell in elsewhere if states[cell.name] not in (*FINISHED, State.running)]
        if running and not dead:
            if not self.waiting:
                self.bar.write(f"waiting for {how_many(len(running), 'cell')} of other processes", file=sys.stderr)
            self.waiting = True
            time.sleep(REFRESH)
        return dead, running

    def note(self, finished: FinishedCell, left: Sequence[Cell]) -> None:
        """Print how a cell ended, and decide whether the others are worth a try."""
        name, ending = finished.cell.name, finished.ending
        if ending.state in FINISHED:
            self.trained += 1
            try:
                if record := self.store.record(name):
                    self.forecast.add(record, finished.seconds)
            except RecordError as error:
                self.failed[name] = str(error)
        elif ending.state is State.failed:
            self.failed[name] = ending.told
        self.bar.update()
        number = f"[{self.trained + len(self.failed)}/{len(self.missing)}]"
        ahead = f"; {told}" if (told := self.ahead(left)) else ""
        if self.bar.disable or ending.state not in FINISHED:
            first, *more = ending.told.split("\n")
            line = f"{number} {name}: {first} ({spelt(finished.seconds)}{ahead})"
            self.bar.write("\n".join([line, *more]), file=sys.stderr)
        if trouble := next((text for text in STORAGE if text in ending.told), ""):
            self.stopped = (
                f"{self.store.runs.parent} cannot be written: {trouble}. Make room there; what is finished is safe"
            )
        elif (
            not self.trained
            and len(self.failed) >= ALIKE
            and len({common_text(*item) for item in self.failed.items()}) == 1
        ):
            self.stopped = f"the first {len(self.failed)} cells all failed alike, so the others were not tried"

    def end(self, command: str) -> None:
        """Print how the cells ended, and the command that goes on with them."""
        if self.stopped:
            tell(f"fedsynth: stopped early: {self.stopped}")
        tell(f"{how_many(len(self.cells), 'cell')}: {self.counts()}")
        for told, names in by_reason(self.failed).items():
            tell(f"  {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {told}")
        if self.left():
            tell(f"To go on where it stopped:\n  {command}")


def by_reason(failed: dict[str, str]) -> dict[str, list[str]]:
    """The first line of a reason -> the runs that failed for it."""
    found: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for name, told in failed.items():
        found.setdefault(first.setdefault(common_text(name, told), told.partition("\n")[0]), []).append(name)
    return found


def common_text(name: str, told: str) -> str:
    """The first line of the reason why a run failed, without the parts that differ from run to run."""
    return re.sub(r"\d+", "#", told.partition("\n")[0].replace(name, ""))


def cores() -> int:
    """The cores that this process may use: by its affinity, by the quota of its container, and by its job of SLURM, which may
    leave it unbound."""
    given = (os.environ.get(name, "") for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"))
    return min([cpu_count(), *(int(count) for count in given if count.isdecimal())])
