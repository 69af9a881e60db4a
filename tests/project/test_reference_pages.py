"""The pages that list options, columns and metrics list what the code has."""

from __future__ import annotations

import re
from dataclasses import fields

import yaml
from support.source import ROOT

import fedsynth
from fedsynth import Scenario
from fedsynth.benchmarks.tables.views.meanings import MEANINGS
from fedsynth.evaluation.columns import metric_columns
from fedsynth.runtime.options import TrainerOptions


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def first_column(text: str) -> set[str]:
    """The words in backticks in the first cells of a page's tables."""
    return {
        word for cell in re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE) for word in re.findall(r"`([^`]+)`", cell)
    }


def test_every_option_of_a_scenario_is_on_its_page() -> None:
    options = {each.name for each in fields(Scenario)} - {"name"}
    told = set(re.findall(r"`(\w+)`", page("scenarios")))
    assert options - told == set()
    assert first_column(page("scenarios")) <= options


def test_every_metric_is_on_its_page() -> None:
    told = first_column(page("metrics"))
    inside = {f"{name}_fg" for name in ("psnr", "ssim", "nmse", "mae")}  # one line of the page, `..._fg`
    assert told - {"..._fg"} == set(metric_columns()) - inside


def test_columns_and_options_that_pages_explain_exist() -> None:
    known = {*MEANINGS, "PSNR +-"}
    (section,) = re.findall(r"^## The columns of a table\n(.*?)^## ", page("statistics"), re.DOTALL | re.MULTILINE)
    assert first_column(section) - known == set()
    trainer = {each.name for each in fields(TrainerOptions)}
    assert [name for name in re.findall(r"`trainer\.(\w+)", page("cost")) if name not in trainer] == []


def test_the_version_is_the_same_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["version"] == fedsynth.__version__
    assert f"## [{fedsynth.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_contributing_names_every_target_of_the_makefile() -> None:
    (line,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([\w-]+)`", (ROOT / "CONTRIBUTING.md").read_text())) == set(line.split())


def test_the_readme_is_short_and_its_first_screen_shows_what_this_is() -> None:
    """One sentence, one picture, three commands, one table."""
    text = (ROOT / "README.md").read_text()
    first, _, _ = text.partition("\n## ")
    (block,) = re.findall(r"^```\n(.*?)^```", first, re.DOTALL | re.MULTILINE)
    assert len(block.splitlines()) == 3
    assert len(re.findall(r"^!\[", first, re.MULTILINE)) == 1
    assert len(re.findall(r"^\| -", first, re.MULTILINE)) == 1
    assert len(text.split()) <= 920
