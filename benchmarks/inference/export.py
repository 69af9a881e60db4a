"""`fedsynth export`: what a finished run synthesises for its test subjects, as NIfTI volumes that lie on their sources."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from tqdm import tqdm

from fedsynth.evaluation.evaluate import serving
from fedsynth.federation import Federation, FederationError, Subject, Task
from fedsynth.registry import DATASETS, METHODS, NETWORKS, RegistryError
from fedsynth.runtime.options import TrainerOptions
from fedsynth.trainer import Trainer

from ..config.identity import scenario_of
from ..config.schema import Run
from ..records.finished import finished
from ..records.record import Record, RecordError
from ..records.store import Store

BATCH = 16  # slices at once
Synthesised = tuple[str, Task, Subject, np.ndarray]  # site, task, subject, float32 [N, H, W] in [-1, 1]


def main(argv: list[str]) -> int:
    """Write the volumes; 1 if no run of that name is finished, 2 if its data are not to be had."""
    parser = argparse.ArgumentParser(prog="fedsynth export", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="names of finished runs, such as 'fedbn-*'")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    parser.add_argument("--out", type=Path, help="where the volumes go (default: RESULTS/volumes)")
    parser.add_argument(
        "--root", type=Path, help="where the source volumes are now, if they were moved since they were prepared"
    )
    arguments = parser.parse_args(argv)
    store = Store(arguments.results)
    runs = finished(store, arguments.runs)
    if not runs:
        return 1
    try:
        for record in (run.record for run in runs):
            out = (arguments.out or arguments.results / "volumes") / record.run
            count = export(record, store.folder(record.run), Path(arguments.results), out, arguments.root)
            print(f"wrote {count} volumes to {out}")
    except (ValueError, OSError, RegistryError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    return 0


def export(record: Record, folder: Path, results: Path, out: Path, root: Path | None = None) -> int:
    """Write `SITE/SUBJECT/SOURCE-TARGET.nii.gz` for every test subject and task of a run, on the grid of the source's volume;
    returns how many. Intensities are those of the target's own volume: 1 of the network's scale is what was shown as white there.

    Raises FederationError for a run on data that have no volumes, or other data than it was trained on; RecordError for one that
    diverged.
    """
    if record.status != "done":
        raise RecordError(f"{record.run} {record.status}, so that it serves nothing")
    run = rebuilt(record, results)
    volumes = getattr(run.dataset, "volumes", None)
    if volumes is None:
        raise FederationError(
            f"{record.run} was trained on dataset={DATASETS.name_of(type(run.dataset))}, which has no volumes"
        )
    federation = trained_on(run, record, results)
    save: Any = DATASETS["prepared"]
    index = {(site, row["subject"], row["contrast"]): row for site in federation.names for row in volumes(site)}
    count = 0
    for site, task, subject, stack in synthesised(run, federation, folder):
        source, target = (index.get((site, subject.name, contrast)) for contrast in (task.sources[0], task.target))
        if source is None or target is None:
            continue  # a site of the phantom among others
        like = moved(Path(source["file"]), root)
        save.export(
            stack,
            source,
            float(target["white"]),
            like,
            out / site / subject.name / f"{task.source}-{task.target}.nii.gz",
        )
        count += 1
    if not count:
        raise FederationError(
            f"none of the sites of {record.run} was made from volumes, so there is nothing to lay its output on"
        )
    return count


def trained_on(run: Run, record: Record, results: Path) -> Federation:
    """The federation of a run. Raises FederationError where the data are not those of its record."""
    federation = run.scenario.federation(run.dataset, results / "cache")
    for site in federation.names:
        if run.dataset.fingerprint(site) != record.identity["data"][site]:
            raise FederationError(
                f"the data of site {site} are not those that {record.run} was trained on; prepare them as then"
            )
    return federation


def moved(path: Path, root: Path | None) -> Path:
    """The source volume, looked for under `root` by as much of its path as leads to a file there."""
    places = [path] if root is None else [root.joinpath(*path.parts[start:]) for start in range(1, len(path.parts))]
    for place in places:
        if place.exists():
            return place
    raise FederationError(
        f"there is no {path.name} at {path if root is None else root}; say where the volumes are by --root"
    )


def synthesised(run: Run, federation: Federation, folder: Path) -> Iterator[Synthesised]:
    """Every test subject's slices for every task, by the round that validation selected."""
    trainer = Trainer(run.method, run.network, federation, run.trainer, run.seed, folder)
    trainer.serve_selected()
    for state in trainer.sites.values():
        with serving(trainer.method, trainer.server, state), torch.no_grad():
            for feed in state.feeds.values():
                tested = federation.sites[feed.name].of("test")
                for task in feed.tasks:
                    for subject in tqdm(tested, f"{feed.name} {task}", unit="subject", leave=False, disable=None):
                        rows = np.arange(subject.slices.start, subject.slices.stop)
                        parts = np.split(rows, range(BATCH, len(rows), BATCH))
                        with trainer.step.autocast():
                            made = [run.method.synthesise(state, feed.batch(task, part)) for part in parts]
                        stack = torch.cat(made)[:, 0].float().clamp(-1, 1).cpu().numpy()
                        yield feed.name, task, subject, stack


def rebuilt(record: Record, results: Path) -> Run:
    """The run that a record's identity describes, on whichever device there is."""
    identity: Mapping[str, Any] = record.identity
    trainer = typed(TrainerOptions, identity["trainer"])
    return Run(
        method=named(METHODS, identity["method"]),
        network=named(NETWORKS, identity["network"]),
        dataset=named(DATASETS, identity["dataset"]),
        scenario=scenario_of(identity["scenario"]),
        trainer=replace(trainer, device="auto"),
        seed=identity["seed"],
        results=str(results),
    )


def named(registry: Any, options: Mapping[str, Any]) -> Any:
    """The registered class of that name with its options."""
    return typed(registry[options["name"]], {key: value for key, value in options.items() if key != "name"})


def typed(cls: type, options: Mapping[str, Any]) -> Any:
    """The dataclass from options as JSON holds them: enumerations by name, infinity as text."""
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(dict(options))))
