"""The configuration of a run: its schema, and every registered method, network and data set as a choice of Hydra's groups."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from fedsynth.federation import Dataset, Scenario
from fedsynth.method import Method
from fedsynth.networks.network import Network
from fedsynth.options import TrainerOptions
from fedsynth.registry import DATASETS, METHODS, NETWORKS

PUBLISHED = "of_"  # network=of_<method> is the network that the method was published with


@dataclass
class Schema:
    """What `conf/config.yaml` is checked against."""

    method: Any = MISSING
    network: Any = MISSING
    dataset: Any = MISSING
    scenario: Scenario = MISSING
    trainer: TrainerOptions = MISSING
    seed: int = 0
    results: str = "results"


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

    @classmethod
    def of(cls, config: DictConfig) -> Run:
        """Raises OptionError where an option is outside its range."""
        known = [entry.name for entry in fields(cls)]
        if unknown := sorted(set(map(str, config)) - set(known)):
            raise OptionError(f"a run has no option {unknown[0]!r}; it has {', '.join(known)}")
        nodes = {name: config[name] for name in known}
        try:
            plain: dict[str, Any] = {
                name: OmegaConf.to_object(node) if OmegaConf.is_config(node) else node for name, node in nodes.items()
            }
            return cls(**plain)
        except ValueError as error:
            raise OptionError(str(error)) from error


def register() -> None:
    """Put the schema and all choices into Hydra's store; must come before `hydra.main`. Their fields become checked options."""
    store = ConfigStore.instance().store
    store("schema", Schema)
    store("default", TrainerOptions, "trainer")
    for name, entry in METHODS.entries().items():
        store(name, entry.cls, "method")
        store(PUBLISHED + name, NETWORKS[entry.cls.published], "network")
    for group, registry in (("network", NETWORKS), ("dataset", DATASETS)):
        for name, cls in ((name, entry.cls) for name, entry in registry.entries().items()):
            store(name, cls, group)
