"""`fedsynth sweep`: every cell of an experiment's grids, each in a process of its own, here or where an engine puts it.

A process that dies takes no other process down, and the sweep notes its end. A sweep tries no cell that failed twice, and goes on
with one that was interrupted. If the first cells all fail for the same reason, the sweep stops. It leaves a cell that another
process is training to that process, waits for it at the end, and trains it itself should the process die.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path

import torch
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
from .engine import DIED, INTERRUPTED, LOCAL, Engine, engine_of
from .processes import ProcessDied
from .status import count_states, status_of
from .training.estimate import Forecast, spelt
from .training.execute import REFRESH, Ending, check_available, lost, tell
from .worker import settle_cell

ALIKE = 4  # failures of one kind, without a success, that end a sweep
TRIES = 3  # processes that may die with a cell in one round, before a sweep leaves it
UNKNOWN = "no estimate yet"
STORAGE = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)))


def main(overrides: Sequence[str], jobs: int | None, dry: bool, results: Path | None, command: str) -> int:
    """Train what is missing. Returns 0 if every cell has its record, 1 if not, 130 if it was interrupted. Raises OptionError,
    before anything is trained, for a cell that cannot be run."""
    words, engine = engine_of(overrides)
    load_choices()
    with explained():
        sweep = Sweep(cells([*words, *results_override(results)]), jobs, engine)
    if sweep.store.claiming:
        tell(sweep.store.claiming)
    tell(sweep.plan())
    return 0 if dry else sweep.go(command)


@dataclass(frozen=True)
class Attempt:
    """A cell that was given to the engine."""

    cell: Cell
    began: float
    round: int  # the last one that was begun before


class Sweep:
    """The cells of an experiment, and how far each one is."""

    def __init__(self, planned: Sequence[Cell], jobs: int | None, engine: str = LOCAL) -> None:
        stores = {cell.run.results for cell in planned}
        if len(stores) > 1:
            raise OptionError(f"a sweep has one store, and these cells have {len(stores)}: {', '.join(sorted(stores))}")
        self.cells, self.store = planned, Store(Path(stores.pop()))
        self.threads = max(cell.run.trainer.threads for cell in planned)
        self.forecast = Forecast(self.store)
        states = {cell.name: self.state(cell) for cell in planned}
        order = (State.unfinished, State.damaged, None, State.failed)  # first what was begun, last what may fail again
        self.missing = [cell for state in order for cell in planned if states[cell.name] is state]
        self.engine = Engine(engine)
        self.gpus = gpus(self.missing) if self.engine.is_local else []
        self.jobs = min(jobs or self.room(), max(1, len(self.missing)))
        self.queue = list[Cell]()  # what to train next, the last one first
        self.elsewhere = list[Cell]()  # what other processes train
        self.freed = Counter[tuple[str, int]]()  # (run, round) -> how many of them have died there
        self.at_work: dict[Future[Ending], Attempt] = {}
        self.failed: dict[str, str] = {}  # run -> why it failed in this sweep
        self.trained = 0  # cells that this sweep trained to a record
        self.stopped = ""  # why the sweep ends early
        self.waiting = False  # whether it was said that the sweep waits for others

    def room(self) -> int:
        """How many cells train at a time. On a GPU as many as fit by the memory that runs like them took, else one."""
        if not self.engine.is_local:
            return int(min(self.engine.room, max(1, len(self.missing))))
        room = max(1, cores() // self.threads)
        if not self.gpus:
            return room
        needed = [self.forecast.gpu_memory(cell.identity) for cell in self.missing]
        whole = min(torch.cuda.get_device_properties(number).total_memory for number in range(len(self.gpus)))
        each = 1 if None in needed else max(1, int(whole // max(filter(None, needed))))
        return min(room, len(self.gpus) * each)

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

    def ahead(self) -> str:
        """The time left, in words; empty if no cell is left."""
        left = [*self.queue, *(attempt.cell for attempt in self.at_work.values())]
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
        if self.engine.is_local:
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
        self.queue = self.missing[::-1]
        self.elsewhere = [cell for cell in self.cells if self.state(cell) is State.running]
        form = "{n_fmt} of {total_fmt} cells |{bar}| {elapsed}{postfix}"
        self.bar = tqdm(total=len(self.queue), bar_format=form, disable=None, file=sys.stderr)
        engine = self.engine.start(self.jobs, self.threads, self.gpus)
        try:
            while (self.queue or self.at_work or self.elsewhere) and not self.stopped:
                self.submit(engine)
                wait(self.at_work, REFRESH, FIRST_COMPLETED)
                for future in [future for future in self.at_work if future.done()]:
                    self.collect(future)
                if not (self.queue or self.at_work or self.stopped):
                    self.look_elsewhere()
                self.bar.set_postfix_str(self.ahead())
        finally:
            self.bar.close()
            engine.shutdown(wait=False)

    def submit(self, engine: Executor) -> None:
        """Give the engine as many cells as it has room for."""
        while self.queue and len(self.at_work) < self.jobs:
            cell = self.queue.pop()
            if (state := self.state(cell)) is State.running:
                self.elsewhere.append(cell)
            elif state not in FINISHED:  # by another sweep, meanwhile
                attempt = Attempt(cell, time.monotonic(), self.store.status(cell.name).round)
                self.at_work[engine.submit(settle_cell, pickle.dumps(cell))] = attempt

    def collect(self, future: Future[Ending]) -> None:
        """Take a cell from the engine. One that was interrupted goes on, if it came further than the time before."""
        attempt = self.at_work.pop(future)
        cell, ending = attempt.cell, self.ending(future, attempt)
        if ending.state is State.running:
            self.elsewhere.append(cell)
        elif ending.state is State.unfinished and self.store.status(cell.name).round > attempt.round:
            self.queue.append(cell)
        self.note(cell, ending)

    def ending(self, future: Future[Ending], attempt: Attempt) -> Ending:
        """How a cell ended. Stops the sweep where its engine failed, and not the cell."""
        seconds = time.monotonic() - attempt.began
        try:
            return future.result()
        except Exception as error:
            kind, told = type(error).__name__, f"interrupted: {error}"
            if kind in DIED:
                return replace(lost(attempt.cell, error), seconds=seconds)
            if kind not in INTERRUPTED:
                self.stopped = f"the engine gave up: {kind}: {error}"
            return Ending(State.unfinished, told, seconds)

    def look_elsewhere(self) -> None:
        """Take up the cells of other processes that have died. Waits a while where all are still at work: were this a job that a
        scheduler began again, nobody else would come back to them."""
        states = {cell.name: self.state(cell) for cell in self.elsewhere}
        free = [cell for cell in self.elsewhere if states[cell.name] not in (*FINISHED, State.running)]
        self.elsewhere = [cell for cell in self.elsewhere if states[cell.name] is State.running]
        self.missing += [cell for cell in free if cell not in self.missing]
        self.bar.total = len(self.missing)
        for cell in free:
            self.freed[place := (cell.name, self.store.status(cell.name).round)] += 1
            if self.freed[place] <= TRIES:
                self.queue.append(cell)
            else:
                died = ProcessDied(f"{TRIES + 1} processes that had it died in round {place[1]}, one after another")
                self.note(cell, lost(cell, died))
        if self.elsewhere and not self.queue:
            if not self.waiting:
                number = how_many(len(self.elsewhere), "cell")
                self.bar.write(f"waiting for {number} of other processes", file=sys.stderr)
            self.waiting = True
            time.sleep(REFRESH)

    def note(self, cell: Cell, ending: Ending) -> None:
        """Print how a cell ended, and decide whether the others are worth a try."""
        name = cell.name
        if ending.state in FINISHED:
            self.trained += 1
            try:
                if record := self.store.record(name):
                    self.forecast.add(record, ending.seconds)
            except RecordError as error:
                self.failed[name] = str(error)
        elif ending.state is State.failed:
            self.failed[name] = ending.told
        self.bar.update()
        number = f"[{self.trained + len(self.failed)}/{len(self.missing)}]"
        ahead = f"; {told}" if (told := self.ahead()) else ""
        if self.bar.disable or ending.state not in FINISHED:
            first, *more = ending.told.split("\n")
            where = f" in {ending.place}" if ending.place else ""
            line = f"{number} {name}: {first} ({spelt(ending.seconds)}{where}{ahead})"
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
        left = {cell.name for cell in self.left()}
        for told, names in by_reason({name: told for name, told in self.failed.items() if name in left}).items():
            tell(f"  {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {told}")
        if left:
            tell(f"To go on where it stopped:\n  {command}")


def gpus(planned: Sequence[Cell]) -> list[str]:
    """The GPUs that the cells may be spread over, as CUDA_VISIBLE_DEVICES names them: all, unless a cell names its own."""
    asked = {cell.run.trainer.device for cell in planned}
    if not torch.cuda.is_available() or not asked <= {"auto", "cuda", "cpu"} or asked == {"cpu"}:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",") if visible else [*map(str, range(torch.cuda.device_count()))]


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
