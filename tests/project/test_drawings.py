"""The drawings of the docs name files, folders, classes and methods that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.checkout import ROOT
from support.source import parsed

DRAWINGS = sorted((ROOT / "docs" / "images").glob("*.svg"))
CODE = [path for room in ("fedsynth", "methods", "benchmarks") for path in sorted((ROOT / room).rglob("*.py"))]


def texts(drawing: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(drawing).iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_the_files_and_folders_of_a_drawing_exist(drawing: Path) -> None:
    every = " ".join(element.text or "" for element in texts(drawing))
    assert (files := re.findall(r"[\w/]+\.py\b", every))
    assert [file for file in files if not any(path.as_posix().endswith(f"/{file}") for path in CODE)] == []
    folders = re.findall(r"\b(?:benchmarks|fedsynth)/\w+(?![\w/.])", every)
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_the_classes_and_methods_of_a_drawing_exist(drawing: Path) -> None:
    """They are its texts of one word in the letters of code that begin with a capital."""
    code = [element.text or "" for element in texts(drawing) if "monospace" in element.get("font-family", "")]
    assert (names := [word for word in code if re.fullmatch(r"[A-Z]\w+(\.\w+)?", word)])
    known = set()
    for path in CODE:
        for item in parsed(path.read_text()).body:
            if isinstance(item, ast.ClassDef):
                methods = [part.name for part in item.body if isinstance(part, ast.FunctionDef)]
                known |= {item.name, *(f"{item.name}.{method}" for method in methods)}
    assert sorted({*names} - known) == []
