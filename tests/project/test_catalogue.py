"""docs/catalogue.md says of every method what its code does."""

from __future__ import annotations

import pytest
from support.checkout import ROOT

from fedsynth.benchmarks.contract import catalogue
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


def test_sentences_about_sgd_are_whole() -> None:
    assert "which is the mean of the gradients before correction." in catalogue.about_sgd(METHODS["scaffold"])
    assert catalogue.about_sgd(METHODS["local"]) == ""


def test_the_readme_names_every_method_and_network() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in (*METHODS.entries(), *NETWORKS.entries()) if f"`{name}`" not in readme] == []
