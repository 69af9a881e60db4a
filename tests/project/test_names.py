"""One name, one thing; a private name stays in its module; a line that tells ruff or mypy to look away says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.source import ROOMS, ROOT, defined_twice, private_uses, python_files

EXCEPTED = ("main",)  # the hook of a verb, which every verb has
MOST = 15


def meanings(root: Path) -> dict[str, list[str]]:
    return {name: places for name, places in defined_twice(root).items() if name not in EXCEPTED}


def listed(doubled: dict[str, list[str]]) -> str:
    return "\n".join(f"  {name}: {', '.join(places)}" for name, places in doubled.items())


def test_a_public_name_is_defined_once() -> None:
    doubled = meanings(ROOT)
    assert len(doubled) <= MOST, f"{len(doubled)} names are defined in more than one module:\n{listed(doubled)}"


def test_a_name_with_two_meanings_is_listed_with_its_modules(tmp_path: Path) -> None:
    for place in ("methods/a.py", "fedsynth/site/b.py", "benchmarks/speed/c.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("class Row: ...\ndef main(): ...\ndef _own(): ...\n")
    assert listed(meanings(tmp_path)) == "  Row: fedsynth/site/b.py, methods/a.py"


def test_the_harness_uses_no_private_name_of_another_module() -> None:
    assert [f"{path}:{line}: {name}" for path, line, name in private_uses(ROOT, "benchmarks")] == []


def is_explained(path: Path, line: int) -> bool:
    """Whether the line, or the one above it, has a comment."""
    lines = (ROOT / path).read_text().splitlines()
    return any("#" in text for text in lines[max(line - 2, 0) : line])


def test_where_a_test_uses_a_private_name_a_comment_says_why() -> None:
    """One comment for a name in a file is enough."""
    uses: dict[tuple[Path, str], list[int]] = {}
    for path, line, name in private_uses(ROOT, "tests"):
        uses.setdefault((path, name), []).append(line)
    silent = [
        f"{path}:{min(lines)}: {name}"
        for (path, name), lines in uses.items()
        if not any(is_explained(path, line) for line in lines)
    ]
    assert silent == []


def test_a_use_of_a_private_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "fedsynth").mkdir()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "fedsynth/a.py").write_text("class Trainer:\n    def _round(self): ...\ndef _made(): ...\n")
    lines = (
        "import os",
        "from fedsynth.a import _made",
        "def _own(trainer):",
        "    trainer._round()",
        "    os._exit(0)",
        "    _own(trainer._replace())",
    )
    (tmp_path / "benchmarks/b.py").write_text("\n".join(lines))
    found = [(line, name) for _, line, name in private_uses(tmp_path, "benchmarks")]
    assert sorted(found) == [(2, "_made"), (4, "_round")]


# Silenced checks


SILENCED = re.compile(r"# (type: ignore|noqa)\b")
EXPLAINED = re.compile(r"# (type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(, [A-Z]+\d+)*)  # \S")


def unexplained(path: Path) -> list[int]:
    """The numbers of the lines that silence a check without naming it and without a reason beside it."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return [number for number, line in lines if SILENCED.search(line) and not EXPLAINED.search(line)]


def test_a_silenced_check_is_named_and_has_its_reason() -> None:
    files = (path for path in python_files(ROOT, *ROOMS, "tests") if path != Path(__file__))
    assert [f"{path.relative_to(ROOT)}:{number}" for path in files for number in unexplained(path)] == []


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("# noqa", [1]),
        ("# noqa: E731", [1]),
        ("# type: ignore  # a reason", [1]),
        ("# type: ignore[arg-type]", [1]),
        ("# type: ignore[arg-type]  # options by name", []),
        ("# noqa: F401, E731  # a reason", []),
    ],
)
def test_a_check_that_is_silenced_without_a_reason_is_found(tmp_path: Path, comment: str, found: list[int]) -> None:
    (tmp_path / "a.py").write_text(f"import os  {comment}\n")
    assert unexplained(tmp_path / "a.py") == found
