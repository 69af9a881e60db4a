"""docs/catalogue.md says of every method what its code does."""

from __future__ import annotations

import inspect
import re

import pytest
from support.source import ROOT

from fedsynth.benchmarks.contract import catalogue
from fedsynth.method import Method
from fedsynth.registry import METHODS, NETWORKS
from fedsynth.runtime.options import TrainerOptions

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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fedmed", "its federated configuration has the privacy on. There the hook takes effect after the generators'"),
        *(("pflsynth", f"{what}: ") for what in ("Norm", "Serving", "Latent", "Start", "Schedule", "Zoom")),
        ("pflsynth", "That *is* instance norm, to rounding"),
        ("fedmri", "it reconstructs, by two such networks, one in k-space and one in image space"),
        ("fedbn", "A newcomer has the norms of the common start. Under batch norm it is welcomed with the initial"),
        ("pfedme", "begin with the moments that the last batch left"),
        ("pfedme", "Absent sites do not train; in the paper all train"),
        ("fedala", "the many passes end at the 30th, settled or not"),
        ("fedfomo", "What a site serves is a mixture made when it serves"),
        ("prrfl", "would differ by 1 to 11 % of its norm"),
        ("fedmm", "stage 2 has three of the six subsets with two contrasts missing, and its stage 3 one of the four"),
    ],
)
def test_an_entry_says_what_once_was_wrong_or_left_out(name: str, said: str) -> None:
    assert said in words(METHODS[name])


@pytest.mark.parametrize(
    "name",
    ["ditto", "fedamp", "feddecorr", "feddyn", "fedmri", "fedprox", "flmrcm", "moon", "pfedme", "prrfl"],
)
def test_a_method_with_a_term_of_its_own_says_the_ratio_of_gradients(name: str) -> None:
    assert re.search(r"ratio of gradients(, of both terms together,)? is \d", words(METHODS[name]))


def test_the_zoom_says_that_it_is_not_the_references() -> None:
    assert "by bilinear interpolation; 1 for none. The reference enlarges" in words(TrainerOptions)


def words(cls: type) -> str:
    """A docstring in one line."""
    return " ".join((inspect.getdoc(cls) or "").split())


@pytest.mark.parametrize(
    ("name", "option", "published"),
    [
        ("fedprox", "mu", 0.01),
        ("feddyn", "alpha", 0.01),
        ("ditto", "lam", 1),
        ("moon", "mu", 1),
        ("fedamp", "lam", 1),
        ("pfedme", "lam", 15),
    ],
)
def test_the_weight_of_a_term_is_the_published_one_times_l1_s(name: str, option: str, published: float) -> None:
    method = METHODS[name]()
    assert getattr(method, option) == published * method.l1


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
