"""The configuration of a run: its schema, and every registered method, network and data set as a choice of Hydra's groups."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedsynth.federation import Dataset
from fedsynth.federation.scenario import Scenario
from fedsynth.method import Method
from fedsynth.networks.network import Network
from fedsynth.registry import DATASETS, METHODS, NETWORKS, Registry, RegistryError
from fedsynth.runtime.options import TrainerOptions

PUBLISHED = "of_"  # network=of_<method> is the network that the method was published with


class Tracking(Enum):
    """Which tracker a run has."""

    none = "none"
    tensorboard = "tensorboard"  # reads RESULTS/tensorboard


def lacking(tracking: Tracking) -> str:
    """What is not installed that it needs; empty if nothing."""
    if tracking is Tracking.none or find_spec(tracking.value):
        return ""
    return f"tracker={tracking.value} needs a package that is not installed: pip install 'fedsynth[{tracking.value}]'"


@dataclass
class Schema:
    """What `conf/config.yaml` is checked against. `where_present`: options for whichever network has them, where the command
    leaves them at their default, so that an experiment can be made smaller on every network. `grids`: what `fedsynth sweep` runs
    of an experiment (grid.py)."""

    method: Any = MISSING
    network: Any = MISSING
    dataset: Any = MISSING
    scenario: Scenario = MISSING
    trainer: TrainerOptions = MISSING
    seed: int = 0
    results: str = "results"
    tracker: Tracking = Tracking.none
    where_present: dict[str, Any] = field(default_factory=dict)
    grids: list[Any] = field(default_factory=list)


class OptionError(ValueError):
    """An option that does not exist, or a value that it cannot have."""


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
        """Raises OptionError for an option that does not exist (Hydra's `+` adds any) or is outside its range."""
        known = [entry.name for entry in fields(cls)]
        if unknown := sorted(set(map(str, config)) - {*known, "where_present", "grids"}):
            raise OptionError(f"a run has no option {unknown[0]!r}; it has {', '.join(known)}")
        nodes = {name: config[name] for name in known}
        try:
            plain: dict[str, Any] = {
                name: OmegaConf.to_object(node) if OmegaConf.is_config(node) else node for name, node in nodes.items()
            }
        except ValueError as error:
            raise OptionError(str(error)) from error
        for name, part in plain.items():
            options = [option.name for option in fields(part)] if is_dataclass(part) else []
            if options and (unknown := sorted(set(vars(part)) - set(options))):
                raise OptionError(f"{name}.{unknown[0]}: there is no such option; there are {', '.join(options)}")
        if lacks := lacking(plain["tracker"]):
            raise OptionError(lacks)
        own = {f.name: f.default for f in fields(plain["network"])}
        wanted = {name: value for name, value in config.get("where_present", {}).items() if name in own}
        unset = {name: value for name, value in wanted.items() if getattr(plain["network"], name) == own[name]}
        return cls(**plain | {"network": replace(plain["network"], **unset)})


def register() -> dict[str, str]:
    """Put the schema and all choices into Hydra's store; must come before `hydra.main`. Their fields become checked options.

    Returns what failed to load, or cannot be a choice, with the reason; it takes nothing else down.
    """
    store = ConfigStore.instance().store
    store("schema", Schema)
    store("default", TrainerOptions, "trainer")
    broken: dict[str, str] = {}
    groups: tuple[tuple[str, Registry[Any]], ...] = (("network", NETWORKS), ("dataset", DATASETS), ("method", METHODS))
    for group, registry in groups:
        broken |= registry.broken()
        for name, entry in registry.entries().items():
            try:
                if "name" in entry.cls.__dataclass_fields__:
                    raise OptionError("an option cannot be called 'name', which is the entry's own")
                if group == "method":
                    network, norm = NETWORKS[entry.cls.published], entry.cls.needs_norm
                    store(PUBLISHED + name, network(norm=norm) if norm else network, "network")
                store(name, entry.cls, group)
            except (OptionError, RegistryError, OmegaConfBaseException, NameError) as error:
                broken[f"{group} {name} ({entry.origin})"] = f"{type(error).__name__}: {error}"
    return broken
