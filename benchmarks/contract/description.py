"""One choice in full: what its documentation says, its options, and of a method what travels."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

import yaml

from fedsynth.federation.scenario import Scenario
from fedsynth.method import Method
from fedsynth.registry import DATASETS

from .catalogue import shared_part
from .options import docstring, options
from .sources import REGISTRIES, Choice, preset, preset_file


def description(group: str, choice: Choice) -> list[str]:
    """The lines that `fedsynth list NAME` prints of it."""
    head = [f"{group} {choice.name}{f' [{choice.origin}]' if choice.origin else ''}"]
    if path := preset_file(group, choice.name):
        comment, content = preset(path)
        head += [f"  {line}".rstrip() for line in comment.splitlines()]
        if group == "experiment":
            return [*head, "", *(f"  {line}" for line in content.splitlines())]
        values = yaml.safe_load(content)
        base = values.pop("defaults", [""])[0]
        return [*head, "", *_table(group, DATASETS[base] if group == "dataset" else Scenario, values)]
    cls = REGISTRIES[group][choice.name]
    lines = [*head, *_paragraphs(sys.modules[cls.__module__].__doc__ or ""), "", *_paragraphs(docstring(cls))]
    return [*lines, "", *_table(group, cls), *(["", *_travel(cls)] if group == "method" else [])]


def _travel(cls: type[Method]) -> list[str]:
    part = shared_part(cls)
    told = f"{100 * part:.4g} % of its generator's parameters travel" if part else "nothing travels"
    return _paragraphs(f"Published on network={cls.published}: {told}.")


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
