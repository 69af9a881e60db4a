"""`where_present`: what an experiment sets of whichever network or data set is chosen, as far as it has the option.

    where_present:
      network: {blocks: 3, pools: 3}      # of any network: a ResNet has the first, a U-Net the second
      phantom: {size: 32, val: 1}         # of the data set of that name; one's own volumes keep what they have

A key is a group (network, dataset, method, optimizer, schedule) or the name of an entry of one, which counts before its group.
Hydra stores every option of a registered class as a reference to this, which falls back on the class's default. Whatever sets an
option explicitly (the command line, a grid, a line of the experiment) replaces the reference, and so it always wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fedsynth.registry import REGISTRIES

from .errors import OptionError, spelling_hint


def default_of(option: Field[Any]) -> Any:
    """The default of a class's option; MISSING where it has none."""
    return option.default if option.default_factory is MISSING else option.default_factory()


@cache
def referring(cls: type, *keys: str, **fixed: Any) -> DictConfig:
    """The options of a class as Hydra stores them: references to these keys of `where_present`, but for the fixed ones."""
    node = OmegaConf.structured(cls(**fixed) if fixed else cls)
    for option in fields(cls):
        if option.name not in fixed and is_set_whole(default_of(option)):
            node[option.name] = f"${{where_present:{','.join([option.name, *keys])}}}"
    return node


def is_set_whole(value: Any) -> bool:
    """Whether a default can be replaced as a whole. The entries of a mapping are options of their own."""
    return not (value is MISSING or isinstance(value, dict) or is_dataclass(value))


def look_up(option: str, *keys: str, _root_: DictConfig, _parent_: DictConfig) -> Any:
    """The value of an option that nothing sets explicitly."""
    for key in keys:
        if option in (wanted := _root_.where_present.get(key, {})):
            return wanted[option]
    cls: Any = OmegaConf.get_type(_parent_)
    return next(default_of(own) for own in fields(cls) if own.name == option)


def check_where_present(given: DictConfig) -> None:
    """Raises OptionError for a key that names nothing, or an option that nothing of that name has or that has entries."""
    named = {name: [entry.cls] for registry in REGISTRIES.values() for name, entry in registry.entries().items()}
    named |= {group: [entry.cls for entry in registry.entries().values()] for group, registry in REGISTRIES.items()}
    for key, options in ((str(key), options) for key, options in given.items()):
        if key not in named:
            hint = spelling_hint(key, named, "there are")
            raise OptionError(f"where_present.{key}: no group and no choice of one has this name; {hint}")
        there = options_of(named[key])
        for option in options:
            if option not in there:
                hint = spelling_hint(option, there, "there are")
                raise OptionError(f"where_present.{key}.{option}: no {key} has this option; {hint}")
            if not is_set_whole(there[option]):
                raise OptionError(f"where_present.{key}.{option}: this option has entries, which are set one by one")


def options_of(classes: Iterable[Any]) -> dict[str, Any]:
    """The options that any of the classes has, with a default of each."""
    return {option.name: default_of(option) for cls in classes for option in fields(cls)}


OmegaConf.register_new_resolver("where_present", look_up, replace=True)
