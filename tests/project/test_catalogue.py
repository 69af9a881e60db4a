"""docs/catalogue.md says of every method what its code does."""

from __future__ import annotations

import re

import pytest
from support.checkout import ROOT

from fedsynth.benchmarks.contract import catalogue
from fedsynth.method import Method
from fedsynth.registry import METHODS, NETWORKS

PAGE = (ROOT / "docs" / "catalogue.md").read_text()


@pytest.mark.parametrize("name", METHODS.entries())
def test_a_methods_part_is_its_code_s(name: str) -> None:
    assert "\n".join(catalogue.section(name, METHODS[name])) in PAGE, "run `make catalogue`"


@pytest.mark.slow
def test_the_page_is_what_is_measured() -> None:
    assert catalogue.page() == PAGE, "run `make catalogue`"


def test_what_travels_is_the_published_share() -> None:
    assert catalogue.shared_part(METHODS["pflsynth"]) == 6_414_785 / 15_986_817
    assert catalogue.shared_part(METHODS["local"]) == 0


@pytest.mark.parametrize("name", METHODS.entries())
def test_every_method_says_what_differs_from_its_paper_and_from_the_released_code(name: str) -> None:
    """In a paragraph each. That nothing differs, the method's oracle has to show, whose file is named."""
    found = catalogue.differences(METHODS[name])
    assert all(found.values()), f"see docs/adding-a-method.md: {found}"
    for text in found.values():
        files = re.findall(r"`(tests/\S+\.py)`", text)
        assert [file for file in files if not (ROOT / file).is_file()] == []
        oracles = [file for file in files if f"\ndef {name}(world: World" in (ROOT / file).read_text()]
        assert oracles or not text.startswith("nothing"), text


def test_a_method_says_it_itself() -> None:
    """A method whose docstring is its parent's would claim the parent's differences."""
    assert [name for name, entry in METHODS.entries().items() if "__doc__" not in vars(entry.cls)] == []


def test_a_docstring_without_these_paragraphs_is_noticed() -> None:
    class Silent(Method):
        """What differs: much."""

    class Telling(Method):
        """A method.

        What differs from the paper: the
        mean.

        What differs from the released code (of somebody): nothing.
        """

    assert catalogue.differences(Silent) == {"paper": "", "released code": ""}
    assert catalogue.differences(Telling) == {"paper": "the mean.", "released code": "nothing."}


def test_a_published_network_is_said_only_where_there_is_one() -> None:
    text = {name: "\n".join(catalogue.section(name, METHODS[name])) for name in ("fedprox", "flmrcm")}
    assert "Published network: none; it runs on `resnet`." in text["fedprox"]
    assert "Published network: `unet`." in text["flmrcm"]


def test_sentences_about_sgd_are_whole() -> None:
    assert "which is the mean of the gradients before correction." in catalogue.about_sgd(METHODS["scaffold"])
    assert catalogue.about_sgd(METHODS["local"]) == ""


def test_the_readme_names_every_method_and_network() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in (*METHODS.entries(), *NETWORKS.entries()) if f"`{name}`" not in readme] == []
