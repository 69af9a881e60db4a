"""What makes a run that run: every resolved option, the data, and the code of its method, network and data set."""

from __future__ import annotations

import math
import re
from dataclasses import MISSING, Field, asdict, fields
from enum import Enum
from typing import Any

from fedsynth.device import resolve_device
from fedsynth.options import UNCOUNTED, TrainerOptions
from fedsynth.registry import DATASETS, METHODS, NETWORKS, Registry
from fedsynth.trainer import NUMERICS

from .config import Run
from .digest import digests
from .records import fingerprint


def identity(run: Run) -> dict[str, Any]:
    """All that the run's hash covers. The order in which sites and tasks are listed is not part of it.

    The rest of the engine counts by `trainer.NUMERICS`, which is raised when a change of it changes numbers.
    """
    tasks = run.scenario.resolve(run.dataset)
    scenario = {
        "name": run.scenario.name,
        "sites": list(tasks),
        "tasks": {site: sorted(map(str, own)) for site, own in tasks.items()},
        "spare_sites": run.scenario.spare_sites,
    }
    parts: tuple[tuple[str, Any, Registry[Any]], ...] = (
        ("method", run.method, METHODS),
        ("network", run.network, NETWORKS),
        ("dataset", run.dataset, DATASETS),
    )
    return {
        **{kind: {"name": registry.name_of(type(thing)), **plain(asdict(thing))} for kind, thing, registry in parts},
        "scenario": scenario,
        "trainer": trainer(run.trainer),
        "seed": run.seed,
        "data": {site: run.dataset.fingerprint(site) for site in tasks},
        "code": {kind: digests()[type(thing)] for kind, thing, _ in parts},
        "numerics": NUMERICS,
    }


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


def default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()


def plain(value: Any) -> Any:
    """The value as JSON holds it: enumerations by name, infinity and NaN as text."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
