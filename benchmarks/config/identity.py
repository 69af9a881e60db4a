"""What makes a run that run: every resolved option, the data, and the code of its method, network and data set."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import Enum
from typing import Any

from fedsynth.federation import Task
from fedsynth.federation.scenario import Scenario
from fedsynth.registry import DATASETS, METHODS, NETWORKS, Registry
from fedsynth.runtime.device import resolve_device
from fedsynth.runtime.options import UNCOUNTED, TrainerOptions
from fedsynth.trainer import NUMERICS

from ..records.record import fingerprint
from .code_digest import digests
from .schema import Run
from .where_present import default


def identity(run: Run) -> dict[str, Any]:
    """All that the run's hash covers. The order in which sites and tasks are listed is not part of it.

    The rest of the engine counts by `trainer.NUMERICS`, which is raised when a change of it changes numbers.
    """
    tasks = run.scenario.resolve(run.dataset)
    parts: tuple[tuple[str, Any, Registry[Any]], ...] = (
        ("method", run.method, METHODS),
        ("network", run.network, NETWORKS),
        ("dataset", run.dataset, DATASETS),
    )
    return {
        **{kind: {"name": registry.name_of(type(thing)), **plain(asdict(thing))} for kind, thing, registry in parts},
        "scenario": scenario(run.scenario, tasks),
        "trainer": trainer(run.trainer),
        "seed": run.seed,
        "data": {site: run.dataset.fingerprint(site) for site in tasks},
        "code": {kind: digests()[type(thing)] for kind, thing, _ in parts},
        "numerics": NUMERICS,
    }


def scenario(given: Scenario, tasks: Mapping[str, tuple[Task, ...]]) -> dict[str, Any]:
    """What takes part and how. `tasks` of the sites that train, `newcomers` with theirs; an option with an entry a site holds one
    for each that has it. Without newcomers their adaptation is none of it."""
    texts = {site: sorted(map(str, own)) for site, own in tasks.items()}
    told = plain(asdict(given)) | {
        "sites": [site for site in texts if site not in given.newcomers],
        "tasks": {site: own for site, own in texts.items() if site not in given.newcomers},
        "newcomers": {site: own for site, own in texts.items() if site in given.newcomers},
        "asks": {site: sorted(str(Task.parse(task)) for task in own) for site, own in sorted(given.asks.items())},
        "poisoned": given.corrupt(site for site in tasks if site not in given.newcomers),
    }
    for option in ("train_subjects", "shift"):
        own = {site: given.of_site(getattr(given, option), site) for site in tasks}
        told[option] = {site: value for site, value in own.items() if value}
    return {name: value for name, value in told.items() if given.newcomers or name not in ("adapt", "adapt_steps")}


def scenario_of(identity: Mapping[str, Any]) -> Scenario:
    """The scenario of which `scenario` told."""
    newcomers = identity.get("newcomers", {})
    tasks = identity["tasks"] | newcomers
    poisoned = len(identity.get("poisoned", ())) / len(identity["tasks"])
    parts = {"sites": list(tasks), "tasks": tasks, "newcomers": list(newcomers), "poisoned": poisoned}
    return Scenario(**dict(identity) | parts)


def trainer(options: TrainerOptions) -> dict[str, Any]:
    """Those options that may change numbers, device and execution as they are here."""
    device = resolve_device(options.device).type
    counted = {name: value for name, value in asdict(options).items() if name not in UNCOUNTED}
    return plain(counted) | {"device": device, "execution": options.execute(device).value}


def name(identity: dict[str, Any]) -> str:
    """The folder's name: readable, and unique by the hash that ends it."""
    label = f"{identity['method']['name']}-{identity['scenario']['name']}-s{identity['seed']}"
    return re.sub(r"[^\w.-]", "_", label) + "-" + fingerprint(identity)


def changed(thing: Any) -> dict[str, Any]:
    """The options of a method or network that are not their defaults."""
    return plain({f.name: value for f in fields(thing) if (value := getattr(thing, f.name)) != default(f)})


def plain(value: Any) -> Any:
    """The value as JSON holds it: enumerations by name, infinity and NaN as text."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
