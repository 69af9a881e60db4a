"""What makes a run that run: every resolved option, the data, and the code of what it chooses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import Enum
from typing import Any

from fedsynth.federation import Task
from fedsynth.federation.intensities import Normalisation
from fedsynth.federation.scenario import Scenario
from fedsynth.registry import REGISTRIES
from fedsynth.runtime.options import UNCOUNTED, TrainerOptions
from fedsynth.trainer import NUMERICS

from ..records.lifting import NEWEST, STORED, told_of_dataset
from .code_digest import digests
from .schema import IN_TRAINER, Run
from .where_present import default_of


def identity(run: Run) -> dict[str, Any]:
    """What a run is, as it was asked for: the same on every machine. The order in which sites and tasks are listed is not part of
    it, and neither is where the data lie; records/lifting.py says what of it makes the run's name.

    Of the engine's code only `trainer.NUMERICS` is part of it, which is raised when a change of the engine changes numbers.
    """
    tasks = run.scenario.resolve(run.dataset)
    chosen: dict[str, Any] = {"method": run.method, "network": run.network}
    chosen |= {kind: getattr(run.trainer, kind) for kind in IN_TRAINER}
    dataset = told_of_dataset(named_options("dataset", run.dataset))
    code = chosen if dataset["name"] in STORED else chosen | {"dataset": run.dataset}
    return {
        "schema": NEWEST,
        **{kind: named_options(kind, thing) for kind, thing in chosen.items()},
        "dataset": dataset,
        "scenario": scenario_identity(run.scenario, tasks),
        "trainer": trainer_identity(run.trainer),
        "seed": run.seed,
        "data": {site: run.dataset.fingerprint(site) for site in tasks},
        "test": {site: run.dataset.test_fingerprint(site) for site in tasks},
        "code": {kind: digests()[type(thing)] for kind, thing in code.items()},
        "numerics": NUMERICS,
    }


def named_options(kind: str, thing: Any) -> dict[str, Any]:
    """A choice of a registry: its name and all its options."""
    return {"name": REGISTRIES[kind].name_of(type(thing)), **plain(asdict(thing))}


def scenario_identity(given: Scenario, tasks: Mapping[str, tuple[Task, ...]]) -> dict[str, Any]:
    """What takes part and how: the tasks of each site that trains, and of each newcomer. Where an option has entries for sites,
    only those of these sites count. How newcomers adapt is left out where there are none."""
    texts = {site: sorted(map(str, own)) for site, own in tasks.items()}
    told = plain(asdict(given)) | {
        "sites": [site for site in texts if site not in given.newcomers],
        "tasks": {site: own for site, own in texts.items() if site not in given.newcomers},
        "newcomers": {site: own for site, own in texts.items() if site in given.newcomers},
        "asks": {site: sorted(str(Task.parse(task)) for task in own) for site, own in sorted(given.asks.items())},
        "poisoned": given.corrupt(site for site in tasks if site not in given.newcomers),
    }
    for option in ("train_subjects", "shift", "normalise"):
        own = {site: given.of_site(getattr(given, option), site) for site in tasks}
        told[option] = {site: plain(value) for site, value in own.items() if value}
    without = () if given.newcomers else ("adapt", "adapt_steps")
    return {name: value for name, value in told.items() if name not in without}


def scenario_of(identity: Mapping[str, Any]) -> Scenario:
    """The scenario that has this `scenario_identity`."""
    newcomers = identity.get("newcomers", {})
    tasks = identity["tasks"] | newcomers
    poisoned = len(identity.get("poisoned", ())) / len(identity["tasks"])
    parts = {"sites": list(tasks), "tasks": tasks, "newcomers": list(newcomers), "poisoned": poisoned}
    parts["normalise"] = {site: Normalisation[how] for site, how in identity.get("normalise", {}).items()}
    return Scenario(**dict(identity) | parts)


def trainer_identity(options: TrainerOptions) -> dict[str, Any]:
    """The options that may change numbers, without optimiser and schedule, which are parts of their own; of the device its kind,
    as it was asked for."""
    counted = {name: value for name, value in asdict(options).items() if name not in (*UNCOUNTED, *IN_TRAINER)}
    return plain(counted) | {"device": options.device.partition(":")[0]}


def changed(thing: Any) -> dict[str, Any]:
    """The options of a method or network that are not their defaults."""
    return plain({f.name: value for f in fields(thing) if (value := getattr(thing, f.name)) != default_of(f)})


def plain(value: Any) -> Any:
    """The value as JSON holds it: enumerations by name, infinity and NaN as text."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
