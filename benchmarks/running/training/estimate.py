"""How long a run is going to take: as long as runs like it took here, else from its own first local steps."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

from fedsynth.federation import count_of
from fedsynth.runtime.device import resolve_device
from fedsynth.trainer import Trainer

from ...records.record import Record, RecordError
from ...records.store import Store

NEWEST = 200  # records that an estimate is made of: enough, and soon read
FEW, ENOUGH = 3, 1.0  # local steps that are timed at least, and the seconds that they take together
CONTEXT, MARGIN = 1 << 30, 1.5  # bytes of a GPU that CUDA and its libraries take; what is freed and not yet reused
WARM_UP = {"cpu": 1, "cuda": 20}  # steps before: operations are counted, kernels chosen, graphs captured
SCORING = 0.2  # what it costs to score a slice, as a share of training on it: measured on the networks of the demo


class Forecast:
    """Seconds for a local step of one site, with all that a run does besides, of each kind of run."""

    def __init__(self, store: Store) -> None:
        self.seen: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        self.peaks: defaultdict[tuple[str, ...], float] = defaultdict(float)
        records = (store.folder(name) / "record.json" for name in store.names())
        finished = sorted((path.stat().st_mtime, path.parent.name) for path in records if path.exists())
        for _, name in finished[-NEWEST:]:
            try:
                if record := store.record(name):
                    self.add(record)
            except RecordError:
                continue

    def add(self, record: Record, seconds: float = 0.0) -> None:
        """Note that a finished run took so long, or as long as its record says if that is more: it may have been resumed."""
        spent = max(seconds, record.costs["seconds"] + record.costs.get("evaluation_seconds", 0.0))
        for kind in kinds(record.identity, record.environment["device"].partition(" ")[0]):
            self.seen[kind].append(spent / local_steps(record.identity))
            self.peaks[kind] = max(self.peaks[kind], record.costs.get("peak_memory_bytes", 0))

    def seconds(self, identity: Mapping[str, Any]) -> float | None:
        """The seconds of a whole run; None where nothing like it was finished."""
        known = next((self.seen[kind] for kind in kinds(identity) if kind in self.seen), None)
        return median(known) * local_steps(identity) if known else None

    def gpu_memory(self, identity: Mapping[str, Any]) -> float | None:
        """The bytes of a GPU that a run needs; None where nothing like it was finished."""
        known = next((self.peaks[kind] for kind in kinds(identity) if kind in self.peaks), None)
        return CONTEXT + MARGIN * known if known else None


def kinds(identity: Mapping[str, Any], device: str = "") -> list[tuple[str, ...]]:
    """What runs of about one speed have in common, the closest first: the size of the images and the network, and the method.
    `device` is the kind that a run was made on; without it the one that it gets here."""
    trainer = identity["trainer"]
    if (device := device or trainer["device"]) == "auto":
        device = resolve_device(device).type
    fixed = (device, identity["dataset"].get("size"), trainer.get("batch"), trainer.get("threads"))
    kind = (*map(str, fixed), json.dumps(identity["network"], sort_keys=True))
    return [(*kind, identity["method"]["name"]), kind]


def local_steps(identity: Mapping[str, Any]) -> float:
    """Local steps of all sites; where a round is given in epochs, in units of a subject's."""
    trainer = identity["trainer"]
    local = trainer.get("local_steps") or trainer["local_epochs"] * identity["dataset"].get("train", 1)
    return float(trainer["rounds"] * trainer["participation"] * local * len(identity["scenario"]["tasks"]))


def announced(trainer: Trainer) -> str:
    """What a trainer is going to do, in words."""
    steps = sorted({trainer.participants.planned(name, site.full) for name, site in trainer.sites.items()})
    each = str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    rounds, sites = trainer.options.rounds, len(trainer.sites)
    told = f"{rounds} round{'s' * (rounds > 1)} of {each} local step{'s' * (steps[-1] > 1)}"
    if (present := max(1, count_of(trainer.options.participation, sites))) < sites:
        return f"{told} at {present} of {sites} sites"
    return f"{told} at {'one site' if sites == 1 else f'each of {sites} sites'}"


def remaining(trainer: Trainer, step: float) -> float:
    """How many seconds the rest of a run takes: its local steps, each of so many seconds, and the slices that it scores."""
    options, newcomers = trainer.options, trainer.federation.newcomers
    rounds = options.rounds - trainer.state.round
    steps = rounds * options.participation * sum(site.full for site in trainer.sites.values())
    conditions = trainer.federation.conditions
    steps += len(newcomers) * len(conditions.adapt) * conditions.adapt_steps
    feeds = [feed for site in trainer.sites.values() for feed in site.feeds.values()]
    slices = {split: sum(len(feed.tasks) * len(feed.rows[split]) for feed in feeds) for split in ("val", "test")}
    scored = math.ceil(rounds / options.validate_every) * slices["val"] + 2 * slices["test"]
    return step * (steps + SCORING * scored / options.batch)


@contextmanager
def first_steps(trainer: Trainer, told: Callable[[int, float], None]) -> Iterator[None]:
    """Inside, `told(count, seconds)` is called once: how many local steps were timed, and how long one takes."""
    train, device = trainer.step.local, trainer.device
    seen, began = 0, 0.0

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def timed(*given: Any) -> None:
        nonlocal seen, began
        train(*given)
        seen += 1
        count = seen - WARM_UP[device.type]
        if count == 0:
            began = now()
        elif count >= FEW and (spent := now() - began) >= ENOUGH:
            step.local = train
            told(count, spent / count)

    step: Any = trainer.step
    step.local = timed  # the trainer tells nobody of single steps
    try:
        yield
    finally:
        step.local = train


def spelt(seconds: float) -> str:
    """A duration in two units at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
