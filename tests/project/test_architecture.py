"""docs/architecture.md: every folder is on its map, and each function of its two ways is called by the one above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from support.source import ROOMS, ROOT, parsed

PAGE = (ROOT / "docs" / "architecture.md").read_text()
Function = ast.FunctionDef | ast.ClassDef


class Stop(NamedTuple):
    """A function on a way; `Class.method` for a method, `Class` for its construction."""

    file: str
    name: str
    indent: int = 0

    def found(self, root: Path) -> Function:
        """Its definition."""
        body: list[ast.stmt] = parsed((root / self.file).read_text()).body
        for part in self.name.split("."):
            (item,) = (item for item in body if isinstance(item, Function) and item.name == part)
            body = item.body
        return item


def way(page: str, heading: str) -> list[Stop]:
    """The numbered list below a heading, whose lines begin with `file:function`."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    found = re.findall(r"^( *)\d+\. `([\w/]+\.py):([\w.]+)`", section, re.MULTILINE)
    return [Stop(file, name, len(indent)) for indent, file, name in found]


def calls(stops: Sequence[Stop]) -> Iterator[tuple[Stop, Stop]]:
    """Each function with its caller: the one that it is indented under, or without indent the one before."""
    for place, stop in enumerate(stops[1:], 1):
        yield next(one for one in reversed(stops[:place]) if one.indent < stop.indent or not stop.indent), stop


def used(body: ast.AST) -> set[str]:
    """The names that a body calls, or hands to what it calls."""
    calls = [node for node in ast.walk(body) if isinstance(node, ast.Call)]
    places = [place for call in calls for place in (call.func, *call.args, *(each.value for each in call.keywords))]
    names = {place.id for place in places if isinstance(place, ast.Name)}
    return names | {place.attr for place in places if isinstance(place, ast.Attribute)}


def breaks(stops: list[Stop], root: Path = ROOT) -> list[str]:
    """Where a way breaks off: a function that does not exist, or that its caller does not call."""
    found = []
    for before, after in calls(stops):
        target = after.found(root)
        names = used(before.found(root))
        is_property = any(getattr(mark, "id", "") in ("property", "cached_property") for mark in target.decorator_list)
        if is_property:
            names = {node.attr for node in ast.walk(before.found(root)) if isinstance(node, ast.Attribute)}
        if target.name not in names:
            found.append(f"{before.file}:{before.name} does not call {after.file}:{after.name}")
    return found


@pytest.mark.parametrize(
    ("heading", "first", "files", "end"),
    [
        ("From `fedsynth leaderboard` to a printed cell", "benchmarks/leaderboard/leaderboard.py", 8, "format"),
        ("From `Trainer.round` to an optimiser's step", "fedsynth/trainer/trainer.py", 5, "step"),
    ],
)
def test_each_function_calls_the_next(heading: str, first: str, files: int, end: str) -> None:
    """The last function calls `end`, of an optimiser, or formats a number itself."""
    stops = way(PAGE, heading)
    assert stops[0].file == first
    assert breaks(stops) == []
    assert len({stop.file for stop in stops}) <= files
    last = stops[-1].found(ROOT)
    formats = any(isinstance(node, ast.FormattedValue) and node.format_spec for node in ast.walk(last))
    assert end in used(last) or (end == "format" and formats)


FILES = {
    "a.py": "def run(rows):\n    Table(rows)\n    return list(map(cell, rows))\n",
    "b.py": "class Table:\n    @property\n    def best(self): ...\n    def show(self):\n        return self.best\n",
    "c.py": "def cell(row):\n    return row.table.show()\n",
}


@pytest.mark.parametrize(
    ("stops", "broken"),
    [
        (("a.py:run", "c.py:cell", "b.py:Table.show", "b.py:Table.best"), ""),  # handed over; a method; a property
        (("a.py:run", "b.py:Table"), ""),
        (("a.py:run", "b.py:Table.show"), "a.py:run does not call b.py:Table.show"),
    ],
)
def test_a_way_that_breaks_off_is_named(tmp_path: Path, stops: tuple[str, ...], broken: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    page = "## A way\n\n" + "\n".join(f"{number}. `{stop}` does it" for number, stop in enumerate(stops, 1))
    found = way(page, "A way")
    assert [f"{stop.file}:{stop.name}" for stop in found] == list(stops)
    assert breaks(found, tmp_path) == ([broken] if broken else [])


def test_an_indented_function_is_called_by_the_one_above_with_less_indent(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    lines = (
        "1. `a.py:run`",
        "   1. `b.py:Table`",
        "   2. `c.py:cell`",
        "      1. `b.py:Table.show`",
        "   3. `b.py:Table.best`",
    )
    found = way("\n".join(["## A way", "", *lines]), "A way")
    assert [stop.indent for stop in found] == [0, 3, 3, 6, 3]
    assert breaks(found, tmp_path) == ["a.py:run does not call b.py:Table.best"]


def test_the_map_has_every_folder() -> None:
    (section,) = re.findall(r"^## What lies where\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    named = re.findall(r"^\| `([\w/]+)/` \|", section, re.MULTILINE)
    files = [path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.*")]
    folders = {str(path.parent) for path in files if "__pycache__" not in path.parts}
    assert sorted(folders - set(named)) == []
    assert [name for name in named if not (ROOT / name).is_dir()] == []
