"""One run: from its configuration to a record in the store, once."""

from __future__ import annotations

import io
import json
import platform
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fedsynth
from fedsynth.evaluation import references
from fedsynth.evaluation.heterogeneity import heterogeneity
from fedsynth.federation import SPLITS, Dataset, Federation
from fedsynth.federation.names import storable
from fedsynth.registry import METRICS
from fedsynth.runtime.atomic import write_atomically
from fedsynth.runtime.checkpoint import CheckpointError
from fedsynth.runtime.claim import ClaimLostError
from fedsynth.runtime.device import check_machine, resolve_device, set_precision
from fedsynth.trainer import Outcome, Trainer

from ...config.code_digest import class_digest
from ...config.errors import OptionError
from ...config.grid import Cell
from ...config.identity import changed
from ...records.data_card import card_facts
from ...records.record import Record, RecordError, canonical, fingerprint, sha256, write_record
from ...records.store import FINISHED, State, Store
from .estimate import announced, first_steps, remaining, spelt
from .progress import RunProgress
from .tracking import followed, tracker

CODE = ("fedsynth", "methods", "datasets", "benchmarks", "conf")  # folders of a checkout
SHORT = 10.0  # seconds; of less nobody needs to be told
REFRESH = 10.0  # seconds between two looks at what others do
LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "nibabel", "hydra-core")


@dataclass(frozen=True)
class Ending:
    """How an attempt at a run ended."""

    state: State  # running where another process works on it
    told: str  # in words
    seconds: float = 0.0
    place: str = ""  # the job of a scheduler


def check_available(cells: Iterable[Cell]) -> None:
    """Raises OptionError for the first run that asks for what this machine lacks: a device, arithmetic in bf16, a compiler."""
    for cell in cells:
        try:
            check_machine(cell.run.trainer, resolve_device(cell.run.trainer.device))
        except ValueError as error:
            raise OptionError(str(error)) from error


def settle(cell: Cell, whole: float = 0.0) -> Ending:
    """Execute the run unless the store has its record or another process works on it.

    An error is noted in the store and told, and goes no further, so that the other runs of a sweep go on. A record that cannot be
    trusted is set aside and made again. `whole` is the work of the whole command in works of this run: how long they are going
    to take is said after the first local steps; with 0 it is not.
    """
    name, store = cell.name, Store(Path(cell.run.results))
    aside = ""
    try:
        with store.claim(name) as mine:
            if not mine:
                return Ending(State.running, "another process works on it, so it is left to that one")
            try:
                if record := store.record(name):
                    store.tidy(name)
                    return Ending(State[record.status], f"{record.status} before, nothing to train")
            except RecordError as error:
                aside = f"; before, {error}: now in {store.set_aside(name)}"
            store.begin(name, cell.asked)
            try:
                ending = attempt(cell, store, whole)
            except CheckpointError as error:
                aside += f"; before, {error}: what there was of the run is now in {store.set_aside(name)}"
                store.begin(name, cell.asked)
                ending = attempt(cell, store, whole)
            if ending.state in FINISHED:
                store.tidy(name)
            return replace(ending, told=ending.told + aside)
    except ClaimLostError as error:
        return Ending(State.running, f"given up: {error}")
    except (OSError, RecordError, CheckpointError) as error:  # the store itself: a full disk, a folder's rights
        return Ending(State.failed, f"failed: {type(error).__name__}: {error}")


def attempt(cell: Cell, store: Store, whole: float) -> Ending:
    """Execute the run, and note an error. Raises CheckpointError where what it left before is damaged."""
    try:
        record = execute(cell, store, whole)
    except (CheckpointError, ClaimLostError):
        raise
    except (Exception, SystemExit) as error:  # a method's code may raise anything, even exit
        if isinstance(error, SystemExit) and is_of_signal(error):
            raise
        note = store.fail(cell.name, error)
        return Ending(State.failed, f"failed: {type(error).__name__}: {error}\n  the traceback is in {note}")
    return Ending(State[record.status], f"{record.status}{': ' if record.reason else ''}{record.reason}")


def lost(cell: Cell, error: Exception) -> Ending:
    """How an attempt ended whose process died: with a note in the store."""
    store, run = Store(Path(cell.run.results)), cell.name
    try:
        with store.claim(run) as mine:
            if not mine:
                return Ending(State.running, f"{error}; another process works on it now")
            if (before := store.status(run).state) in FINISHED:
                return Ending(before, before.value)
            store.begin(run, cell.asked)
            store.fail(run, error)
    except OSError as fault:
        return Ending(State.failed, f"failed: {error}, and it cannot be noted: {fault}")
    return Ending(State.failed, f"failed: {error}")


def is_of_signal(error: BaseException) -> bool:
    """Whether the handler of a signal raised it, as submitit's does when its job is preempted or its time is over: the run was
    interrupted, and did not fail."""
    handlers = [getattr(handler, "__func__", handler) for handler in map(signal.getsignal, signal.valid_signals())]
    codes = {getattr(handler, "__code__", None) for handler in handlers}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def execute(cell: Cell, store: Store, whole: float) -> Record:
    """Train, or go on training, and leave the record."""
    run, started = cell.run, now()
    folder, results = store.folder(cell.name), Path(run.results)
    federation = run.scenario.federation(run.dataset, results / "cache")
    set_precision(run.trainer)
    # What fails, fails before hours of training.
    data = data_facts(federation, run.dataset, cell.identity, results / "cache")

    def say(count: int, seconds: float) -> None:
        left = remaining(trainer, seconds)
        device = "GPU" if trainer.device.type == "cuda" else "CPU"
        text = f"about {spelt(left)} on this {device}, from its first {count} local steps"
        more = f"; the whole command about {spelt(whole * left)}, one run after another" if whole > 1 else ""
        if whole and whole * left >= SHORT:
            tell(f"{cell.name}: {announced(trainer)}: {text}{more}")

    with RunProgress(store, cell.name, folder, len(federation.names)) as progress:
        trainer = Trainer(run.method, run.network, federation, run.trainer, run.seed, folder, progress)
        watching = tracker(run.tracker, results, cell.name, cell.identity)
        with followed(trainer, watching), first_steps(trainer, say):
            outcome = trainer.run()
            watching.scores(outcome.scores, outcome.selected_round)
    record = Record(
        run=cell.name,
        identity=cell.identity,
        changed={"method": changed(run.method), "network": changed(run.network)},
        status=outcome.status,
        reason=storable(outcome.reason),
        selected_round=outcome.selected_round,
        validation_psnr=outcome.validation_psnr,
        policy=outcome.policy,
        costs=outcome.costs,
        digest=outcome.digest,
        data=data,
        environment=environment(trainer.state.hardware)
        | {
            "execution": storable(outcome.execution),
            "precision": run.trainer.precision.value,
            "threads": run.trainer.threads,
        },
        started=started,
        finished=now(),
        tuning=cell.tuning,
        gallery=save_gallery(folder, outcome),
        below_floor=outcome.below_floor,
    )
    if outcome.status == "done":
        trainer.save_model()
    return write_record(folder, record, outcome.scores, outcome.curve)


def save_gallery(folder: Path, outcome: Outcome) -> str:
    """What the run made of some test slices, uint8 `[n, H, W]` under "site/task/source", ".../target", ".../prediction". Returns
    the SHA-256 of the file; empty for a run without pictures, which writes none."""
    shown = {f"{place}/{kind}": image for place, images in outcome.gallery.items() for kind, image in images.items()}
    if not shown:
        return ""
    content = io.BytesIO()
    np.savez_compressed(content, **shown)  # type: ignore[arg-type]  # arrays by name
    write_atomically(folder / "gallery.npz", content.getvalue())
    return sha256(content.getvalue())


def data_facts(federation: Federation, dataset: Dataset, identity: Mapping[str, Any], cache: Path) -> dict[str, Any]:
    """The size of a slice, subjects and slices of every site and split, digests of what was read, how much the sites differ, and
    the reference lines."""
    sites = {
        site: {split: [len(own.of(split)), len(own.rows(split))] for split in SPLITS}
        for site, own in ((site, federation.sites[site]) for site in federation.names)
    }
    own = {site: federation.sites[site] for site in federation.names}
    known = getattr(dataset, "volumes", None)  # where a data set is made of volumes
    card = card_facts(own, {site: known(site) for site in own} if known else None)
    read = {site: found.seal for site, found in sorted(federation.sites.items())}
    measured = measured_data(federation, identity, cache)
    naming = {site: dataset.naming(site) for site in federation.sites}
    missing = getattr(dataset, "left_out", None)
    left_out = {site: count for site in federation.sites if missing and (count := missing(site))}
    facts = {"size": list(federation.size), "subjects_and_slices": sites, "naming": naming, "left_out": left_out}
    return facts | {"read": read, "card": card} | measured


def measured_data(federation: Federation, identity: Mapping[str, Any], cache: Path) -> dict[str, Any]:
    """`heterogeneity` and `reference_lines`, which read every slice: once for the same data, scenario and code, and then from the
    cache, unless its file was damaged."""
    code = [path.read_text("utf-8") for path in sorted(Path(references.__file__).parent.rglob("*.py"))]
    metrics = {name: class_digest(entry.cls) for name, entry in METRICS.entries().items()}
    what = {"data": identity["data"], "scenario": identity["scenario"], "code": code, "metrics": metrics}
    place = cache / f"measured-{fingerprint(what)}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # there is none, or it was damaged
        kept = json.loads(place.read_bytes())
        if kept["sha256"] == sha256(canonical(kept["measured"]).encode()):
            return dict(kept["measured"])
    found = {"heterogeneity": heterogeneity(federation), "reference_lines": references.measured_lines(federation)}
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, json.dumps({"measured": found, "sha256": sha256(canonical(found).encode())}).encode())
    return found


def environment(hardware: Sequence[str]) -> dict[str, Any]:
    """Where the numbers come from: code, versions, and the hardware on which the run trained, one after another."""
    versions = {library: version(library) for library in LIBRARIES}
    versions |= {"python": platform.python_version(), "fedsynth": fedsynth.__version__}
    return {
        **commit(),
        "device": storable(", ".join(hardware)),
        "processor": storable(processor()),
        "versions": versions,
    }


def processor() -> str:
    """The processor and the instructions that torch uses of it: runs of one repeat exactly."""
    try:
        named = re.findall(r"(?m)^model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        named = []
    return f"{named[0] if named else platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def commit() -> dict[str, Any]:
    """The checkout's commit and whether its code or configuration has changes; empty outside a checkout."""
    root = Path(fedsynth.__file__).parents[1]
    try:
        top, head = git(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top) == root.resolve():  # and not an environment inside somebody's own repository
            return {"commit": head, "dirty": bool(git(root, "status", "--porcelain", "--", *CODE))}
    except (OSError, subprocess.CalledProcessError):
        pass
    return {"commit": "", "dirty": False}


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def tell(text: str) -> None:
    """Say something on standard error, at once."""
    print(text, file=sys.stderr, flush=True)
