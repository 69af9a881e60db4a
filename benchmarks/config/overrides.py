"""What a command will run: every run of it composed and checked before the first one trains."""

from __future__ import annotations

import argparse
import os
import re
from difflib import get_close_matches
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException, OverrideParseException

from ..records.store import Store
from .identity import identity, name
from .schema import PUBLISHED, Run


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


def explain(error: Exception) -> str:
    """What an override got wrong, with the nearest names, from Hydra's or OmegaConf's error."""
    cause = error.__cause__ or error.__context__ or error
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; a text with special characters needs quotes of its own: 'key=[\"T1->T2\"]'"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        choices = [option for option in error.options if not option.startswith(PUBLISHED)]
        return f"no {group} {choice!r}; {nearest(choice, choices, 'there are')}"
    if found := re.search(r"Key '(.*?)' not in '(.*?)'", str(cause)):
        parent = getattr(cause, "parent_node", None)
        key, owner = getattr(cause, "full_key", found[1]), "a run" if found[2] == "Schema" else found[2]
        keys = [str(key) for key in parent or ()]
        file = re.match("In '(.*?)'", str(error))
        by = f", which {file[1]} sets" if file else ""
        return f"{key}{by}: {owner} has no option {found[1]!r}{'; ' if keys else ''}{nearest(found[1], keys, 'it has')}"
    if "is not in struct" in str(cause):
        key = getattr(cause, "full_key", "")
        return f"{key}: there is no such entry; to add it, write +{key}=..."
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()]
    return "\n  ".join(dict.fromkeys(line for line in lines if not re.match("(object|reference)_type=", line)))


def nearest(text: str, choices: list[str], else_all: str) -> str:
    """The choices that are spelt like the text, or all of them."""
    near = get_close_matches(text, choices, cutoff=0.5)
    return f"the nearest: {', '.join(near)}" if near else f"{else_all}: {', '.join(choices)}" if choices else ""
