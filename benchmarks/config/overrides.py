"""OPTION=VALUE in Hydra's grammar: read, taken apart and written."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString

from .compose import hydra_session

LATE = ("method.", "network.", "optimizer.", "schedule.")  # options of choices that a sweep may make


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """The words as Hydra reads them; `glob(fed*)` finds what there is to choose from."""
    with hydra_session():
        loader = GlobalHydra.instance().config_loader()
        return OverridesParser.create(config_loader=loader).parse_overrides([*words])


def option_of(override: Override) -> str:
    """The option that an override is about."""
    return override.get_key_element().lstrip("+~")


def combinations(overrides: Sequence[Override]) -> list[dict[str, str]]:
    """Option -> value of every combination of what the overrides sweep. Of two overrides of one option the second counts."""
    values = {
        override.get_key_element(): [*override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [override.get_value_element_as_str()]
        for override in overrides
    }
    return [dict(zip(values, combination, strict=True)) for combination in product(*values.values())]


def deferred(word: str) -> str:
    """An override that waits for the choices of a sweep.

    Hydra first composes what is not swept, with the default choices, which may lack an option of the swept ones. As a choice of
    one value the option counts as swept.
    """
    override = OverridesParser.create().parse_override(word)
    option = override.get_key_element()
    if not option.lstrip("+").startswith(LATE) or override.is_sweep_override():
        return word
    return f"{option}=choice({override.get_value_element_as_str()})"


def sweep_literal(values: Any) -> str:
    """The values that a grid has for an option, in Hydra's grammar: a list as a choice, a text such as range(5) as it is."""
    if isinstance(values, list):
        return ",".join(map(literal, values))
    return values if isinstance(values, str) else literal(values)


def literal(value: Any) -> str:
    """One value in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{literal(name)}:{literal(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(literal, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str) and not (re.fullmatch(r"[\w./-]+", value) and yaml.safe_load(value) == value):
        return QuotedString(value, Quote.single).with_quotes()
    return str(value)


def results_override(results: Path | None) -> list[str]:
    """The override for the folder of the results, if one was given."""
    return [f"results={literal(str(results))}"] if results else []


def apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command that are names, and those that are overrides."""
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]
