"""One run: from its configuration to a record in the store, once."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

import fedsynth
from fedsynth.evaluation import heterogeneity as lut
from fedsynth.federation import SPLITS, Dataset, Federation
from fedsynth.runtime.atomic import write_atomically
from fedsynth.runtime.device import resolve_device
from fedsynth.trainer import Outcome, Trainer

from ..config.identity import changed, identity, name
from ..config.schema import Run
from ..records.data_card import card_facts, voxel_edges
from ..records.record import Record, RecordError, fingerprint, write_record
from ..records.store import State, Store
from . import gpu_queue as room
from .progress import Progress
from .tracking import followed, tracker

CODE = ("fedsynth", "methods", "datasets", "benchmarks", "conf")  # folders of a checkout
LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "nibabel", "hydra-core")


@dataclass(frozen=True)
class Ending:
    """How an attempt at a run ended."""

    state: State  # running where another process works on it
    told: str  # in words


def job(config: DictConfig) -> None:
    """Hydra's task: settle the run and say how it ended."""
    run = Run.of(config)
    say(f"{name(identity(run))}: {settle(run).told}")


def settle(run: Run) -> Ending:
    """Execute the run unless the store has its record or another process works on it.

    An error is noted in the store and told, and goes no further: the rest of a sweep is none of its concern. A record that
    cannot be trusted is set aside and made again.
    """
    what = identity(run)
    run_name, store = name(what), Store(Path(run.results))
    aside = ""
    try:
        with store.claim(run_name) as mine:
            if not mine:
                return Ending(State.running, "another process works on it, so it is left to that one")
            try:
                if record := store.record(run_name):
                    return Ending(State[record.status], f"{record.status} before, nothing to train")
            except RecordError as error:
                aside = f"; before, {error}: now in {store.set_aside(run_name)}"
            store.begin(run_name, what)
            ending = attempt(run, what, store)
            return replace(ending, told=ending.told + aside)
    except (OSError, RecordError) as error:  # the store itself: a full disk, a folder's rights
        return Ending(State.failed, f"failed: {type(error).__name__}: {error}")


def attempt(run: Run, what: dict[str, Any], store: Store) -> Ending:
    """Execute the run."""
    run_name = name(what)
    try:
        record = execute(run, what, store)
    except (Exception, SystemExit) as error:  # a method's code may raise anything, even exit
        note = store.fail(run_name, error)
        return Ending(State.failed, f"failed: {type(error).__name__}: {error}\n  the traceback is in {note}")
    return Ending(State[record.status], f"{record.status}{': ' if record.reason else ''}{record.reason}")


def execute(run: Run, what: dict[str, Any], store: Store) -> Record:
    """Train, or go on training, and leave the record."""
    run_name, started = name(what), now()
    folder = store.folder(run_name)
    federation = run.scenario.federation(run.dataset, Path(run.results) / "cache")
    room.take(run, federation, resolve_device(run.trainer.device), store.folder(run_name).parent / ".gpu")
    with Progress(store, run_name, folder) as progress:
        trainer = Trainer(run.method, run.network, federation, run.trainer, run.seed, folder, progress)
        watching = tracker(run.tracker, Path(run.results), run_name, what)
        with followed(trainer, watching):
            outcome = trainer.run()
            watching.scores(outcome.scores, outcome.selected_round)
    save_gallery(folder, outcome)
    record = Record(
        run=run_name,
        identity=what,
        changed={"method": changed(run.method), "network": changed(run.network)},
        status=outcome.status,
        reason=outcome.reason,
        selected_round=outcome.selected_round,
        validation_psnr=outcome.validation_psnr,
        policy=outcome.policy,
        costs=outcome.costs,
        digest=outcome.digest,
        data=data(federation, run.dataset, what["data"], Path(run.results) / "cache"),
        environment=environment(trainer.device) | {"execution": outcome.execution},
        started=started,
        finished=now(),
    )
    record = write_record(folder, record, outcome.scores, outcome.curve)
    trainer.tidy()
    return record


def save_gallery(folder: Path, outcome: Outcome) -> None:
    """What the run made of some test slices, uint8 `[n, H, W]` under "site/task/source", ".../target", ".../prediction"."""
    shown = {f"{place}/{kind}": image for place, images in outcome.gallery.items() for kind, image in images.items()}
    if shown:
        np.savez_compressed(folder / "gallery.npz", **shown)  # type: ignore[arg-type]  # arrays by name


def data(federation: Federation, dataset: Dataset, fingerprints: Mapping[str, str], cache: Path) -> dict[str, Any]:
    """The size of a slice, subjects and slices of every site and split, and how much the sites differ, by look-up tables."""
    sites = {
        site: {split: [len(own.of(split)), len(own.rows(split))] for split in SPLITS}
        for site, own in ((site, federation.sites[site]) for site in federation.names)
    }
    differ = differences(federation, fingerprints, cache)
    own = {site: federation.sites[site] for site in federation.names}
    known = getattr(dataset, "volumes", None)  # where a data set is made of volumes
    card = card_facts(own, {site: voxel_edges(known(site)) if known else {} for site in own})
    return {"size": list(federation.size), "subjects_and_slices": sites, "heterogeneity": differ, "card": card}


def differences(federation: Federation, fingerprints: Mapping[str, str], cache: Path) -> list[dict[str, object]]:
    """`lut.heterogeneity`, which reads every slice: once for the same data, tasks and code, and then from the cache."""
    tasks = {site: list(map(str, federation.tasks[site])) for site in federation.names}
    code = Path(lut.__file__).read_text("utf-8")
    place = cache / f"heterogeneity-{fingerprint({'data': dict(fingerprints), 'tasks': tasks, 'code': code})}.json"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, json.dumps(lut.heterogeneity(federation)).encode())
    found: list[dict[str, object]] = json.loads(place.read_bytes())
    return found


def environment(device: torch.device) -> dict[str, Any]:
    """Where the numbers come from: code, versions, machine."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    versions = {library: version(library) for library in LIBRARIES}
    versions |= {"python": platform.python_version(), "fedsynth": fedsynth.__version__}
    return {**commit(), "device": f"{device.type} ({where})", "versions": versions}


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


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
