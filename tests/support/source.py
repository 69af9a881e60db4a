"""The project's modules as their source shows them: which there are, what they import, and which names they define and use."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the checkout
ROOMS = ("fedsynth", "methods", "datasets", "benchmarks", "conf")
NAMEDTUPLE = ("_asdict", "_field_defaults", "_fields", "_make", "_replace")  # public in spite of their underscore


def python_files(root: Path, *rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((root / room).rglob("*.py"))


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def module(path: Path, root: Path) -> str:
    """The name that a file imports under: benchmarks/config/grid.py is fedsynth.benchmarks.config.grid."""
    parts = path.relative_to(root).with_suffix("").parts
    parts = parts if parts[0] == "fedsynth" else ("fedsynth", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, root: Path) -> Iterator[str]:
    """The absolute names that a file imports anywhere in it, under TYPE_CHECKING too; `from a import b` gives a.b."""
    folder = path.relative_to(root).parent.parts
    folder = folder if folder[0] == "fedsynth" else ("fedsynth", *folder)
    for node in ast.walk(parsed(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports(root: Path) -> dict[Path, set[Path]]:
    """The files that each file of the rooms imports, both relative to the root; benchmarks/speed is left out."""
    files = {module(path, root): path for path in python_files(root, *ROOMS) if "speed" not in path.parts}
    graph: dict[Path, set[Path]] = {}
    for path in files.values():
        found = set()
        for name in imported(path, root):
            home = (
                name if name in files else name.rpartition(".")[0]
            )  # `from a import b`: the module a.b, or a's name b
            if home in files and files[home] != path:
                found.add(files[home].relative_to(root))
        graph[path.relative_to(root)] = found
    return graph


def node(path: Path) -> Path:
    """A file at the top of a room stands for itself, every other file for its folder."""
    return path if len(path.parts) == 2 else path.parent


def folder_imports(graph: Mapping[Path, set[Path]]) -> dict[Path, set[Path]]:
    nodes: dict[Path, set[Path]] = defaultdict(set)
    for path, targets in graph.items():
        nodes[node(path)] |= {node(target) for target in targets} - {node(path)}
    return nodes


def circle(graph: Mapping[Path, set[Path]]) -> str:
    """One circle of imports, written `a -> b -> a`; "" if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(str(path) for path in reversed(error.args[1]))
    return ""


def defined_twice(root: Path) -> dict[str, list[str]]:
    """The public top-level classes and functions that more than one module defines, each with its modules; speed apart."""
    homes = defaultdict(list)
    for path in (path for path in python_files(root, *ROOMS) if "speed" not in path.parts):
        for item in parsed(path.read_text()).body:
            if isinstance(item, ast.ClassDef | ast.FunctionDef) and not item.name.startswith("_"):
                homes[item.name].append(str(path.relative_to(root)))
    return {name: places for name, places in sorted(homes.items()) if len(places) > 1}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != "" and name not in NAMEDTUPLE


def private_definitions(tree: ast.Module) -> set[str]:
    """The private functions, classes, variables, attributes and parameters that a file makes."""
    found = set()
    for item in ast.walk(tree):
        if isinstance(item, ast.ClassDef | ast.FunctionDef):
            found.add(item.name)
        elif isinstance(item, ast.Name | ast.Attribute) and isinstance(item.ctx, ast.Store):
            found.add(item.id if isinstance(item, ast.Name) else item.attr)
        elif isinstance(item, ast.arg):
            found.add(item.arg)
    return {name for name in found if is_private(name)}


def private_uses(root: Path, folder: str) -> Iterator[tuple[Path, int, str]]:
    """The places below a folder that import or read a private name which only other modules of ours define: file, line, name."""
    ours = set()
    for path in python_files(root, *ROOMS):
        ours |= private_definitions(parsed(path.read_text()))
    for path in python_files(root, folder):
        tree = parsed(path.read_text())
        foreign = ours - private_definitions(tree)
        for item in ast.walk(tree):
            if isinstance(item, ast.Attribute) and item.attr in foreign:
                yield path.relative_to(root), item.lineno, item.attr
            elif isinstance(item, ast.ImportFrom) and (item.level or (item.module or "").startswith("fedsynth")):
                for alias in item.names:
                    if is_private(alias.name):
                        yield path.relative_to(root), item.lineno, alias.name
