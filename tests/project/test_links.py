"""The pages: each link leads somewhere, and each file that a page or a comment names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.checkout import ROOT
from support.source import ROOMS, python_files

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
