"""One choice in full: what its documentation says, its options, and of a method what travels."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import yaml

from fedsynth.registry import METHODS, METRICS, NETWORKS, PLUGGABLE, REGISTRIES

from ..config.errors import PUBLISHED
from .options import docstring, options
from .sources import Choice, preset, preset_file

if TYPE_CHECKING:
    from fedsynth.method import Method


def description(group: str, choice: Choice) -> list[str]:
    """The lines that `fedsynth list NAME` prints of it."""
    head = f"{group} {choice.name}{f' [{choice.origin}]' if choice.origin else ''}"
    if path := preset_file(group, choice.name):
        comment, content = preset(path)
        return [head, *(f"  {line}".rstrip() for line in comment.splitlines()), "", *_settings(group, content)]
    if group == "network" and choice.name.startswith(PUBLISHED):
        method = METHODS[choice.name.removeprefix(PUBLISHED)]
        norm = {"norm": method.needs_norm} if method.needs_norm else {}
        network = method.default_network()
        return [f"{head}, which is {network}", *_documented(group, NETWORKS[network], norm)]
    if group == "metric":
        return [head, *_documented(group, METRICS[choice.name]), *_measured(choice.name)]
    cls = PLUGGABLE[group][choice.name]
    return [head, *_documented(group, cls), *(["", *_travel(cls)] if group == "method" else [])]


def _settings(group: str, content: str) -> Iterator[str]:
    """What a YAML file sets: with the other options of the class that it configures, or as it is written."""
    values = yaml.safe_load(content) or {}
    base = next((name for name in values.pop("defaults", []) if isinstance(name, str) and name != "_self_"), "")
    if group == "scenario":
        from fedsynth.federation.scenario import Scenario  # loads torch, which an experiment does without

        yield from _table(group, Scenario, values)
    elif group in REGISTRIES and base:
        yield from _table(group, REGISTRIES[group][base], values)
    else:
        yield from (f"  {line}" for line in content.splitlines())


def _documented(group: str, cls: type, values: Mapping[str, Any] | None = None) -> list[str]:
    """What a class says of itself, and its options."""
    module = _paragraphs(sys.modules[cls.__module__].__doc__ or "")
    return [*module, "", *_paragraphs(docstring(cls)), "", *_table(group, cls, values)]


def _measured(name: str) -> Iterator[str]:
    """How a metric is read, and where."""
    metric = METRICS[name]
    low, high = metric.range
    yield f"  {metric.better} is better, from {low:g} to {high:g}{f' {metric.unit}' if metric.unit else ''}"
    yield f"  columns: {', '.join(metric.columns(name))}"


def _travel(cls: type[Method]) -> list[str]:
    from .catalogue import shared_part  # loads all that trains

    network = cls.default_network()
    on = "Published" if network == cls.published else "Published without a network for synthesis; it runs"
    try:
        part = shared_part(cls)
    except Exception as error:  # a plug-in may raise anything
        return _paragraphs(f"{on} on network={network}; what travels is not known: {error}.")
    told = f"{100 * part:.4g} % of its generator's parameters travel" if part else "nothing travels"
    return _paragraphs(f"{on} on network={network}: {told}.")


def _table(group: str, cls: type, values: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Of each option how it is typed, with its value, its type and, in a line of its own, its meaning."""
    for own in options(cls, values):
        yield f"  {group}.{own.name}={own.default}  ({own.type})"
        yield from wrap(own.meaning, _width(), initial_indent=" " * 6, subsequent_indent=" " * 6)


def _paragraphs(text: str) -> list[str]:
    """A docstring's paragraphs, each wrapped and indented."""
    found = [wrap(" ".join(part.split()), _width() - 2) for part in re.split(r"\n\s*\n", text.strip())]
    return [f"  {line}" for part in found for line in part]


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 130)
