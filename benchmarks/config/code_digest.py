"""The code of whatever is registered, as a digest: edited code makes another run, reformatted code does not."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path

from fedsynth.registry import REGISTRIES

ENGINE, PLUGIN = "fedsynth.", "fedsynth.plugins."
PLUGGED = (*(f"{registry.folder}." for registry in REGISTRIES.values()), PLUGIN)


@cache
def digests() -> dict[type, str]:
    """The digest of every registered class. All are read at once, so that an edit during a sweep does not count for it."""
    return {entry.cls: class_digest(entry.cls) for kind in REGISTRIES.values() for entry in kind.entries().values()}


def class_digest(cls: type) -> str:
    """The digest of a class: its module, those of its bases, and what these import of the same package; 12 hexadecimal digits.

    What a plugin file imports from its own folder counts too. Comments, docstrings and formatting do not count, and neither does
    the engine except for its networks: it has `trainer.NUMERICS`.
    """
    sources = sorted((source.name, source.code) for source in closure(cls))
    return hashlib.sha256(repr(sources).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class ModuleSource:
    """A module's code in one form, without comments and docstrings; the names that it imports; where it lies."""

    name: str
    code: str
    imports: tuple[str, ...]
    folder: Path | None  # of the file, or of the package that the module belongs to


def closure(cls: type) -> list[ModuleSource]:
    """The modules that the digest covers."""
    found: dict[str, ModuleSource] = {}
    waiting = [source for base in cls.__mro__ if plugged(base) and (source := read_module(base.__module__))]
    while waiting:
        source = waiting.pop()
        if source.name not in found:
            found[source.name] = source
            waiting += [other for name in source.imports if counts(name, source) and (other := read_module(name))]
    return list(found.values())


def plugged(base: type) -> bool:
    """Whether a base is a choice of a registry itself, and not a class of the engine."""
    if base.__module__.startswith(ENGINE):
        return base.__module__.startswith(PLUGGED)
    return any(parent.__module__.startswith(ENGINE) for parent in base.__mro__)


def counts(name: str, importer: ModuleSource) -> bool:
    """Whether an imported module is a plugged-in part, or belongs to the importer's package. The package of a plugin file is its
    folder."""
    if f"{name}.".startswith(ENGINE):
        return name.startswith(PLUGGED)
    if importer.name.startswith(PLUGIN):
        return (spec := locate(name)) is not None and folder(spec) == importer.folder
    return name.partition(".")[0] == importer.name.partition(".")[0]


@cache
def read_module(name: str) -> ModuleSource | None:
    """The module of this name, or None if there is none or it has no source: an imported name may be a class or a function."""
    spec = locate(name)
    text = getattr(spec.loader, "get_source", lambda name: None)(name) if spec and spec.has_location else None
    if spec is None or not text:
        return None
    tree = ast.parse(text)
    named = tuple(dict.fromkeys(imports(tree, spec.parent or "")))
    return ModuleSource(name, code(tree), named, folder(spec))


def folder(spec: ModuleSpec) -> Path | None:
    """Where a module's file lies, or the package that it belongs to."""
    if not spec.has_location or not spec.origin:
        return None
    inside = 0 if spec.name.startswith(PLUGIN) else spec.name.count(".") + bool(spec.submodule_search_locations)
    return Path(spec.origin).parents[inside]


def locate(name: str) -> ModuleSpec | None:
    """Where a module is, without importing it.

    Only its name decides, never what else this process has imported, so that a digest is the same wherever it is taken.
    """
    parts, path, spec = name.split("."), None, None
    for depth in range(1, len(parts) + 1):
        full = ".".join(parts[:depth])
        if full in sys.modules:
            spec = getattr(sys.modules[full], "__spec__", None)
        else:
            spec = PathFinder.find_spec(full, path) if depth == 1 or path else None
        path = list(spec.submodule_search_locations or ()) if spec else []
    return spec


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """The full names of all that a module imports, modules or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield home
            yield from (f"{home}.{alias.name}" for alias in node.names)


def code(tree: ast.Module) -> str:
    """The module's code in one form, without its docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())), *rest]:
                    node.body = rest
    return ast.unparse(tree)
