"""A line that tells ruff or mypy to look away says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.checkout import ROOT
from support.source import ROOMS, python_files

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
