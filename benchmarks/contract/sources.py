"""What there is to choose from, read from source files that are not imported: names, and what each says of itself.

Help, `fedsynth list` and completion are made of this, so that they load neither torch nor a method. Whether a class can be used,
only its import shows, and `Registry` tells it where a run needs the class.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple

from fedsynth import plugins
from fedsynth.registry import PLUGGABLE

from ..config.own_files import BUILT_IN, conf_folders

# Of options: method=fedavg, experiment=demo.
GROUPS = ("method", "network", "dataset", "scenario", "experiment", "optimizer", "schedule")
LISTED = (*GROUPS, "metric")
# What has a full stop that ends no sentence; a capital letter after a number is a unit (1.5 T), and no initial.
ABBREVIATION = re.compile(r"(?:^|[\s(])(?:al|cf|e\.g|i\.e|vs|St|Dr|Fig|Eq)$|(?:^|\D\s)[A-Z]$")


class Choice(NamedTuple):
    """A name in a group, the first sentence of its documentation and, unless it is built in, where it comes from."""

    name: str
    summary: str
    origin: str = ""
    documentation: str = ""  # of a class: the docstring of its module, then its own
    file: Path | None = None  # of a class


class SourceError(Exception):
    """A file that cannot be read, or that does not hold what its place says."""


def choices(group: str) -> tuple[list[Choice], dict[str, str]]:
    """What a group offers, by name; and origin -> reason for each file that cannot be read."""
    found: list[Choice] = []
    broken: dict[str, str] = {}
    for origin, read in _sources(group):
        try:
            found += read()
        except (SourceError, OSError, ValueError) as error:  # ValueError: not the text that it should be
            broken[origin] = str(error)
    return sorted(found), broken


def first_sentence(text: str) -> str:
    return next(iter(sentences(text)), "")


def sentences(text: str) -> list[str]:
    """The sentences of a docstring or a comment, each in one line; a paragraph ends a sentence too."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        line, start = " ".join(paragraph.split()), 0
        for stop in re.finditer(r"\.(?=\s+[^a-z]|$)|[?!](?=\s|$)", line):
            if stop[0] != "." or not ABBREVIATION.search(line[: stop.start()]):
                found.append(line[start : stop.end()].strip())
                start = stop.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if sentence]


def _sources(group: str) -> Iterator[tuple[str, Callable[[], list[Choice]]]]:
    """Origin, and how its choices are read."""
    if registry := PLUGGABLE.get(group):
        for module in pkgutil.iter_modules(import_module(registry.folder).__path__):
            name = f"{registry.folder}.{module.name}"
            yield name, partial(_built_in, name, group)
        for point in entry_points(group=registry.group):
            yield _package(point), partial(_entry_point, point)
        for path in plugins.plugin_files():
            yield str(path), partial(_plugin, path, group)
    for folder in conf_folders():
        for path in sorted((folder / group).glob("*.yaml")):
            yield str(path), partial(_preset, path, "" if folder == BUILT_IN else str(path))


# --- YAML files ------------------------------------------------------------------------------------------------------


def preset_file(group: str, name: str) -> Path | None:
    """The YAML file of a choice, if it has one."""
    found = (folder / group / f"{name}.yaml" for folder in conf_folders())
    return next((path for path in found if path.is_file()), None)


def preset(path: Path) -> tuple[str, str]:
    """What the comment at the beginning of a file says, and the rest of the file."""
    lines = path.read_text("utf-8").removeprefix("# @package _global_\n").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(line.lstrip("#").removeprefix(" ") for line in lines[:end]), "\n".join(lines[end:])


def _preset(path: Path, origin: str) -> list[Choice]:
    return [Choice(path.stem, first_sentence(preset(path)[0]), origin)]


# --- Python files ----------------------------------------------------------------------------------------------------


class _Module(NamedTuple):
    """A parsed file: its classes, and what its imports mean, both by the name that the file uses."""

    name: str
    path: Path
    text: str  # of its docstring
    classes: dict[str, ast.ClassDef]
    imports: dict[str, str]  # "Method": "fedsynth.method.Method"


def _built_in(name: str, group: str) -> list[Choice]:
    module = _module(name)
    found = _defined(module, group) if module else []
    return [_choice(name.rpartition(".")[2], found[0])] if found else []


def _entry_point(point: EntryPoint) -> list[Choice]:
    if (found := _class(f"{point.module}.{point.attr}")) is None:
        raise SourceError(f"there is no class {point.value}")
    return [_choice(point.name, found, _package(point))]


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version} ({point.value})" if point.dist else f"a package ({point.value})"


def _plugin(path: Path, group: str) -> list[Choice]:
    if (module := _module(f"{plugins.__name__}.{path.stem}")) is None:
        raise SourceError("is no Python file that can be imported; a plugin is one, such as my_method.py")
    if not any(_defined(module, kind) for kind in PLUGGABLE):
        raise SourceError(f"defines no {', no '.join(registry.kind for registry in PLUGGABLE.values())}")
    found = _defined(module, group)
    names = [path.stem if len(found) == 1 else own.name.lower() for _, own in found]
    return [_choice(name, own, str(path)) for name, own in zip(names, found, strict=True)]


def _choice(name: str, found: tuple[_Module, ast.ClassDef], origin: str = "") -> Choice:
    module, own = found
    texts = [text for text in (module.text, ast.get_docstring(own) or "") if text]
    return Choice(name, first_sentence("\n\n".join(texts)), origin, "\n\n".join(texts), module.path)


def _defined(module: _Module, group: str) -> list[tuple[_Module, ast.ClassDef]]:
    """The classes of a group that a module defines, or a package with its modules; not those that it imports."""
    root = _class(PLUGGABLE[group].base.replace(":", "."))
    inside = [place for place in module.imports.values() if place.startswith(f"{module.name}.")]
    found = (_class(place) for place in [*(f"{module.name}.{name}" for name in module.classes), *inside])
    return [own for own in found if own and _descends(own, root)]


def _descends(found: tuple[_Module, ast.ClassDef], root: tuple[_Module, ast.ClassDef] | None) -> bool:
    """Whether a class has this one among its parents."""
    module, own = found
    for parent in own.bases:
        first, dot, rest = ast.unparse(parent).partition(".")
        higher = _class(module.imports.get(first, f"{module.name}.{first}") + dot + rest)
        if higher and higher != found and (higher == root or _descends(higher, root)):
            return True
    return False


def _class(place: str) -> tuple[_Module, ast.ClassDef] | None:
    """The definition of the class that a dotted name stands for, perhaps by way of other modules' imports."""
    home, _, name = place.rpartition(".")
    if not home or (module := _module(home)) is None:
        return None
    if name in module.classes:
        return module, module.classes[name]
    return _class(module.imports[name]) if module.imports.get(name, place) != place else None


def _module(name: str) -> _Module | None:
    """The source of a module, found as an import would find it; None where there is none, as of a module in C."""
    spec: ModuleSpec | None = None
    places: Any = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        if (spec := next(filter(None, (finder.find_spec(part, places) for finder in sys.meta_path)), None)) is None:
            return None
        places = spec.submodule_search_locations or []
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    return _parsed(name, path, path.stat().st_mtime_ns)


@cache
def _parsed(name: str, path: Path, changed: int) -> _Module:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise SourceError(f"{path}, line {error.lineno}, cannot be parsed: {error.msg}") from error
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    module = _Module(name, path, ast.get_docstring(tree) or "", {}, {})
    for statement in _statements(tree.body):
        if isinstance(statement, ast.ClassDef):
            module.classes[statement.name] = statement
        elif isinstance(statement, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
            home = ".".join([*above, *([statement.module] if statement.module else [])])
            module.imports.update({alias.asname or alias.name: f"{home}.{alias.name}" for alias in statement.names})
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                top = alias.name.partition(".")[0]  # `import a.b` makes a known, `import a.b as c` a.b
                module.imports[alias.asname or top] = alias.name if alias.asname else top
    return module


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module that run when it is imported, the bodies of functions and classes apart."""
    for statement in body:
        yield statement
        for inner in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _statements(getattr(statement, inner, []))
