"""The pages and drawings: each link leads somewhere, and what a page, a drawing or a comment names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.source import ROOMS, ROOT, parsed, python_files

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("results/*.md"), *ROOT.glob("results/*/README.md")]
)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere, and the files of the checkout that it names and that there are not."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = target.partition("#")
        if "://" in place:
            continue
        file = page.parent / place if place else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(target)
    rooms = "|".join((*ROOMS, "tests", "docs"))
    named = [name for name in re.findall(rf"`((?:{rooms})/[\w/.-]+\.\w+)[`:]", text) if "NAME" not in name]
    return found + [name for name in named if not (page.parent / name).exists() and not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_points_at_exists(page: Path) -> None:
    assert broken(page) == []


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A Part, and more\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#a-part-and-more) [b](other.md#b) [c](gone.md) `methods/fedavg.py:FedAvg` `methods/gone.py`"
    )
    assert broken(page) == ["other.md#b", "gone.md", "methods/gone.py"]


def test_files_that_the_code_names_exist() -> None:
    """In comments, docstrings and messages of the rooms; other projects' files are named in benchmarks/speed/peers."""
    there = {path.name for path in python_files(ROOT, *ROOMS, "tests")} | {"my_method.py"}
    assert [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files(ROOT, *ROOMS)
        if path.parent.name != "peers"
        for name in re.findall(r"\b\w+\.py\b", path.read_text())
        if name not in there
    ] == []


# Drawings


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
