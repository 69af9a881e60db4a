"""`fedsynth list`: the methods, networks, data sets, scenarios and experiments there are, and what failed to load."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from importlib.resources import files
from typing import Any

from click import UsageError

from fedsynth.registry import DATASETS, METHODS, NETWORKS, Registry

from .schema import register

KINDS: dict[str, Registry[Any]] = {"methods": METHODS, "networks": NETWORKS, "datasets": DATASETS}


def main(kinds: Sequence[str]) -> int:
    """Print the named kinds, or all; 1 if something failed to load."""
    every = [*KINDS, "scenarios", "experiments"]
    chosen = kinds or every
    if unknown := [kind for kind in chosen if kind not in every]:
        raise UsageError(f"no kind {unknown[0]!r}; there are {', '.join(every)}")
    for kind in chosen:
        print(kind)
        shown = [*(entries(kind) if kind in KINDS else []), *presets(kind)]
        width = max((len(name) for name, *_ in shown), default=0) + 2
        for name, summary, options in shown:
            print(f"  {name:{width}}{summary}")
            if options:
                print(f"  {'':{width}}{options}")
    broken = register()
    for origin, reason in broken.items():
        print(f"{origin} failed to load: {reason}", file=sys.stderr)
    return int(bool(broken))


def entries(kind: str) -> list[tuple[str, str, str]]:
    """Name, first line of the module's docstring (where it comes from, if it is not ours) and options of each."""
    rows = []
    for name, entry in KINDS[kind].entries().items():
        own = [inspect.getdoc(sys.modules[entry.cls.__module__]), inspect.getdoc(entry.cls)]
        text = next(
            (text for text in own if text and not text.startswith(f"{entry.cls.__name__}(")), ""
        )  # no signature
        foreign = (
            ""
            if entry.cls.__module__.startswith("fedsynth.") and ".plugins." not in entry.cls.__module__
            else f" [{entry.origin}]"
        )
        options = ", ".join(f.name for f in fields(entry.cls)) if is_dataclass(entry.cls) else ""
        rows.append((name, text.partition("\n")[0] + foreign, options))
    return rows


def presets(kind: str) -> list[tuple[str, str, str]]:
    """Name and first comment line of each file in a group of conf/."""
    folder = files("fedsynth.conf").joinpath(kind.removesuffix("s"))
    paths = sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []
    texts = {path.name.removesuffix(".yaml"): path.read_text().removeprefix("# @package _global_\n") for path in paths}
    return [(name, text.splitlines()[0].removeprefix("# "), "") for name, text in texts.items() if "." not in name]
