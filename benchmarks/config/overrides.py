"""What a command will run: every run of it composed and checked before the first one trains."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from ..records.store import Store
from .identity import identity, name
from .schema import Run


def plan(arguments: argparse.Namespace) -> dict[str, Store]:
    """The runs that Hydra's arguments ask for, by name, and where each is kept.

    Raises OptionError, FederationError for a scenario that the data set cannot do, and Hydra's and OmegaConf's own errors,
    which `explain` puts in words.
    """
    more = [f"hydra.searchpath=[file://{os.path.abspath(arguments.config_dir)}]"] if arguments.config_dir else []
    runs = {}
    with initialize_config_module("fedsynth.conf", version_base="1.3"):
        for overrides in combinations(arguments):
            run = Run.of(compose(arguments.config_name or "config", [*overrides, *more]))
            runs[name(identity(run))] = Store(Path(run.results))
    return runs


def combinations(arguments: argparse.Namespace) -> list[list[str]]:
    """The overrides of each run: one run, or with --multirun all combinations of the command's and the experiment's values."""
    if not arguments.multirun:
        return [arguments.overrides]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    given = parser.parse_overrides(arguments.overrides)
    named = [override.input_line or "" for override in given if override.key_or_group == "experiment"]
    experiment = compose(arguments.config_name or "config", named, return_hydra_config=True).hydra.sweeper.params or {}
    swept = parser.parse_overrides([f"{key}={values}" for key, values in experiment.items()])
    (batch,) = BasicSweeper.split_arguments([*swept, *given], max_batch_size=None)
    return batch


def late(word: str) -> str:
    """An override of a sweep. Hydra first composes all that is not swept, with the default method and network, which may lack
    an option of those that are: as a choice of one value it waits for them."""
    override = OverridesParser.create().parse_override(word)
    key = override.get_key_element()
    if not key.lstrip("+").startswith(("method.", "network.")) or override.is_sweep_override():
        return word
    return f"{key}=choice({override.get_value_element_as_str()})"
