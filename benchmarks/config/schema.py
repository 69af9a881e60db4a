"""The configuration of a run: its schema, and everything that is registered as a choice of Hydra's groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedsynth.federation import Dataset
from fedsynth.federation.scenario import Scenario
from fedsynth.method import Method
from fedsynth.networks.network import Network
from fedsynth.registry import METRICS, NETWORKS, REGISTRIES, RegistryError
from fedsynth.runtime.options import TrainerOptions, check_finite

from .errors import PUBLISHED, OptionError
from .where_present import check_where_present, referring

UNTOLD = ("results", "dataset", "where_present", "grids")  # options of which a record has no text
SOURCES = re.compile(r"\$\{\s*(oc\.env|hydra|results|dataset)\b")  # texts that say something of the machine
IN_TRAINER = ("optimizer", "schedule")  # choices that are options of the trainer too, which refer to them


class Tracking(Enum):
    """Which tracker a run has."""

    none = "none"
    tensorboard = "tensorboard"  # shows the folder RESULTS/tensorboard


def check_installed(tracking: Tracking) -> None:
    """Raises OptionError where the package of the tracker is not installed."""
    if tracking is not Tracking.none and not find_spec(tracking.value):
        package = f"pip install 'fedsynth[{tracking.value}]'"
        raise OptionError(f"tracker={tracking.value} needs a package that is not installed: {package}")


def check_no_environment(config: DictConfig) -> None:
    """Raises OptionError for a text from an environment variable, or from an option that says where something lies, in an option
    that the record or the name of the run tells: others get these. A number may come from there, such as a seed."""
    given = OmegaConf.to_container(config)
    if not SOURCES.search(str(given)):
        return
    for option, text in texts_from(given, OmegaConf.to_container(config, resolve=True)):
        if option.partition(".")[0] not in UNTOLD:
            raise OptionError(
                f"{option} is {text}, whose value would stand in the record of the run; write out what it is"
            )


def texts_from(given: Any, resolved: Any, within: str = "") -> Iterator[tuple[str, str]]:
    """The options whose text is looked up in SOURCES, each with how it is given."""
    if isinstance(given, dict | list):
        entries = given.items() if isinstance(given, dict) else enumerate(given)
        for name, own in entries:
            yield from texts_from(own, resolved[name], f"{within}.{name}" if within else str(name))
    elif isinstance(given, str) and isinstance(resolved, str) and SOURCES.search(given):
        yield within, given


@dataclass
class Schema:
    """What `conf/config.yaml` is checked against. `where_present` and `grids` are explained in the files of their names."""

    method: Any = MISSING
    network: Any = MISSING
    dataset: Any = MISSING
    scenario: Scenario = MISSING
    trainer: TrainerOptions = MISSING
    optimizer: Any = MISSING
    schedule: Any = MISSING
    seed: int = 0
    results: str = "results"
    tracker: Tracking = Tracking.none
    where_present: dict[str, dict[str, Any]] = field(default_factory=dict)
    grids: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One run, as plain dataclasses: nothing behind this boundary knows of Hydra."""

    method: Method
    network: Network
    dataset: Dataset
    scenario: Scenario
    trainer: TrainerOptions
    seed: int
    results: str
    tracker: Tracking = Tracking.none

    @classmethod
    def of(cls, config: DictConfig) -> Run:
        """Raises OptionError for an option that does not exist (Hydra's `+` adds any), ValueError for one outside its range."""
        known = [*(entry.name for entry in fields(cls)), *IN_TRAINER]
        if unknown := sorted(set(map(str, config)) - {*known, "where_present", "grids"}):
            raise OptionError(f"a run has no option {unknown[0]!r}; it has {', '.join(known)}")
        check_where_present(config.where_present)
        nodes = {name: config[name] for name in known}
        parts: dict[str, Any] = {
            name: OmegaConf.to_object(node) if OmegaConf.is_config(node) else node for name, node in nodes.items()
        }
        for name, part in parts.items():
            options = [option.name for option in fields(part)] if is_dataclass(part) else []
            if options and (unknown := sorted(set(vars(part)) - set(options))):
                raise OptionError(f"{name}.{unknown[0]}: there is no such option; there are {', '.join(options)}")
        check_no_environment(config)
        for name in REGISTRIES:
            if not is_dataclass(parts[name]):
                raise OptionError(
                    f"{name}: its file must begin with `defaults: [NAME, _self_]`, a registered {name}'s name"
                )
        for name in (*REGISTRIES, "scenario"):
            check_finite(name, parts[name])
        check_installed(parts["tracker"])
        return cls(**{name: part for name, part in parts.items() if name not in IN_TRAINER})


@cache
def register() -> dict[str, str]:
    """Put the schema and all choices into Hydra's store, once, so that their fields become checked options.

    Returns what failed to load or cannot be a choice, with the reason. It takes nothing else down.
    """
    store = ConfigStore.instance().store
    store("schema", Schema)
    trainer = OmegaConf.structured(TrainerOptions)
    for name in IN_TRAINER:
        trainer[name] = f"${{{name}}}"
    store("default", trainer, "trainer")
    broken = dict(METRICS.broken())
    for group, registry in REGISTRIES.items():
        broken |= registry.broken()
        for name, entry in registry.entries().items():
            try:
                if "name" in entry.cls.__dataclass_fields__:
                    raise OptionError("an option cannot be called 'name', which is the entry's own")
                if group == "method":
                    published = entry.cls.default_network()
                    fixed = {"norm": entry.cls.needs_norm} if entry.cls.needs_norm else {}
                    node = referring(NETWORKS[published], published, "network", **fixed)
                    store(PUBLISHED + name, node, "network")
                store(name, referring(entry.cls, name, group), group)  # type: ignore[arg-type]  # a class can be hashed
            except (OptionError, RegistryError, OmegaConfBaseException, NameError) as error:
                broken[f"{group} {name} ({entry.origin})"] = f"{type(error).__name__}: {error}"
    return broken
