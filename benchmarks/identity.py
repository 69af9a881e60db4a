"""What makes a run that run: every resolved option, the data, and the code of its method, network and data set."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from enum import Enum
from importlib.util import resolve_name
from types import ModuleType
from typing import Any

from fedsynth.registry import DATASETS, METHODS, NETWORKS, Registry
from fedsynth.trainer import NUMERICS, resolve_device

from .config import Run
from .records import fingerprint

ENGINE = "fedsynth."
PLUGGED = ("fedsynth.methods.", "fedsynth.networks.", "fedsynth.datasets.", "fedsynth.plugins.")


def identity(run: Run) -> dict[str, Any]:
    """All that the run's hash covers. The order in which sites and tasks are listed is not part of it.

    The rest of the engine counts by `trainer.NUMERICS`, which is raised when a change of it changes numbers.
    """
    tasks = run.scenario.resolve(run.dataset)
    scenario = {
        "name": run.scenario.name,
        "sites": list(tasks),
        "tasks": {site: sorted(map(str, own)) for site, own in tasks.items()},
        "spare_sites": run.scenario.spare_sites,
    }
    parts: tuple[tuple[str, Any, Registry[Any]], ...] = (
        ("method", run.method, METHODS),
        ("network", run.network, NETWORKS),
        ("dataset", run.dataset, DATASETS),
    )
    return {
        **{kind: {"name": registry.name_of(type(thing)), **plain(asdict(thing))} for kind, thing, registry in parts},
        "scenario": scenario,
        "trainer": plain(asdict(run.trainer)) | {"device": resolve_device(run.trainer.device).type},
        "seed": run.seed,
        "data": {site: run.dataset.fingerprint(site) for site in tasks},
        "code": {kind: digest(type(thing)) for kind, thing, _ in parts},
        "numerics": NUMERICS,
    }


def name(identity: dict[str, Any]) -> str:
    """The folder's name: readable, and unique by the hash that ends it."""
    return f"{identity['method']['name']}-{identity['scenario']['name']}-s{identity['seed']}-{fingerprint(identity)}"


def changed(thing: Any) -> dict[str, Any]:
    """The options of a method or network that are not their defaults."""
    default = type(thing)()
    return plain({f.name: v for f in fields(thing) if (v := getattr(thing, f.name)) != getattr(default, f.name)})


def plain(value: Any) -> Any:
    """The value with enumerations by name, as JSON holds it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def digest(cls: type) -> str:
    """Of the code that a class runs: its module's, its bases', and what these import of the same package.

    Comments, docstrings and formatting do not count; nor does the engine, apart from its networks.
    """
    sources = {module.__name__: code(module) for module in closure(cls)}
    return hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()[:12]


def closure(cls: type) -> list[ModuleType]:
    """The modules whose code the digest covers."""
    found: dict[str, ModuleType] = {}
    waiting = [sys.modules[base.__module__] for base in cls.__mro__ if counts(base.__module__, cls.__module__)]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found:
            found[module.__name__] = module
            waiting += [sys.modules[other] for other in imports(module) if counts(other, cls.__module__)]
    return [found[name] for name in sorted(found)]


def counts(module: str, home: str) -> bool:
    """Whether a module is code of a plugged-in part, or of the package in which the class lives."""
    if module not in sys.modules or getattr(sys.modules[module], "__file__", None) is None:
        return False
    return module.startswith(PLUGGED) if module.startswith(ENGINE) else module.split(".")[0] == home.split(".")[0]


def imports(module: ModuleType) -> Iterator[str]:
    """The full names of all that a module's source imports, modules or not."""
    package = module.__spec__.parent if module.__spec__ else ""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield home
            yield from (f"{home}.{alias.name}" for alias in node.names)


def code(module: ModuleType) -> str:
    """The module's syntax tree as text, without docstrings."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
