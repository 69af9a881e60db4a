"""What a finished run synthesises for its test subjects: the run is rebuilt from its record, and its selected round is served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf
from tqdm import tqdm

from fedsynth.evaluation.evaluate import serving
from fedsynth.federation import Federation, FederationError, Subject, Task
from fedsynth.registry import REGISTRIES
from fedsynth.runtime.options import TrainerOptions
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

from ..config.identity import scenario_of
from ..config.schema import IN_TRAINER, Run
from ..records.record import Record, RecordError
from ..records.store import Store

BATCH = 16  # slices at once


class Synthesised(NamedTuple):
    """What a run makes of the slices of a subject."""

    site: str
    task: Task
    subject: Subject
    images: np.ndarray  # float32 [N, H, W] in [-1, 1]


def synthesise_test_subjects(run: Run, federation: Federation, folder: Path) -> Iterator[Synthesised]:
    """Every test subject's slices for every task, by the round that validation selected. `folder` is that of the run.

    Raises ValueError where the folder holds no trained model.
    """
    trainer = Trainer(run.method, run.network, federation, run.trainer, run.seed, folder)
    trainer.serve_selected()
    for state in trainer.sites.values():
        with serving(trainer.method, trainer.server_party.download(state.name), state), torch.no_grad():
            yield from synthesised(state)


def synthesised(state: SiteState) -> Iterator[Synthesised]:
    """Every test subject's slices for every task of a site that is serving."""
    for feed in state.feeds.values():
        tested = [subject for subject in feed.subjects if subject.split == "test"]
        for task in feed.tasks:
            for subject in tqdm(tested, f"{feed.name} {task}", unit="subject", leave=False, disable=None):
                rows = np.arange(subject.slices.start, subject.slices.stop)
                parts = np.split(rows, range(BATCH, len(rows), BATCH))
                made = [state.answer(feed.batch(task, part)) for part in parts]
                images = torch.cat(made)[:, 0].float().clamp(-1, 1).cpu().numpy()
                yield Synthesised(feed.name, task, subject, images)


def rebuild_run(record: Record, results: Path) -> Run:
    """The run that a record's identity describes, on the best device of this machine.

    Raises RecordError for a run that diverged: it serves nothing.
    """
    if record.status != "done":
        raise RecordError(f"{record.run} {record.status}, so it has no model that could synthesise")
    asked = record.identity | {"dataset": Store(results).asked(record.run)["dataset"]}  # it knows where the data lie
    run = described_run(asked)
    return replace(run, trainer=replace(run.trainer, device="auto"), results=str(results))


def described_run(identity: Mapping[str, Any], data: Sequence[str] = ()) -> Run:
    """The run that an identity describes. `data` are options of the data set, such as where it is here."""
    here: Any = OmegaConf.to_object(OmegaConf.from_dotlist([*data]))
    identity = {**identity, "dataset": {**identity["dataset"], **here}}
    chosen = {kind: _registered(registry, identity[kind]) for kind, registry in REGISTRIES.items()}
    moving = {kind: chosen.pop(kind) for kind in IN_TRAINER}
    return Run(
        **chosen,
        scenario=scenario_of(identity["scenario"]),
        trainer=replace(_instance(TrainerOptions, identity["trainer"]), **moving),
        seed=identity["seed"],
        results="",
    )


def rebuild_federation(run: Run, record: Record, results: Path) -> Federation:
    """The federation of a run. Raises FederationError where the data are not those of its record."""
    federation = run.scenario.federation(run.dataset, results / "cache")
    for site in federation.names:
        if run.dataset.fingerprint(site) != record.identity["data"][site]:
            raise FederationError(
                f"the data of site {site} are not those that {record.run} was trained on; prepare them as they were then"
            )
    return federation


def _registered(registry: Any, options: Mapping[str, Any]) -> Any:
    """The registered class of that name with its options."""
    return _instance(registry[options["name"]], {key: value for key, value in options.items() if key != "name"})


def _instance(cls: type, options: Mapping[str, Any]) -> Any:
    """The dataclass from options as JSON holds them: enumerations by name, infinity as text."""
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(dict(options))))
