"""Editing a line of code makes another run, of what runs that code and of nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from fedsynth.benchmarks.config.code_digest import class_digest, closure, read_module
from fedsynth.registry import DATASETS, METHODS, NETWORKS

PARENT = '''
"""A parent."""
from fedsynth.method import Method
from .rate import RATE


class Parent(Method):
    """FedAvg under another name."""

    def travels(self, place):
        return RATE > 0
'''
CHILD = """
from .parent import Parent


class Child(Parent):
    def phase(self, site, k):
        return "child"
"""

Package = Callable[..., None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes modules of a third-party package, which can be imported and edited; nothing of it is left in the process."""
    name = "third_party"
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> None:
        for module, text in modules.items():
            path = tmp_path / name / f"{module}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        read_module.cache_clear()

    write(__init__="", parent=PARENT, child=CHILD, rate="RATE = 1\n", unused="X = 1\n")
    yield write
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    read_module.cache_clear()


def classes() -> tuple[type, type]:
    return import_module("third_party.parent").Parent, import_module("third_party.child").Child


@pytest.mark.parametrize(
    "text",
    [
        PARENT.replace("RATE > 0", "(RATE  >  0)  # always"),
        PARENT.replace('"""A parent."""', '"""Another text."""'),
        PARENT.replace('    """FedAvg under another name."""\n', ""),
        PARENT.replace("\n\n    def", "\n    # a comment\n    def"),
    ],
)
def test_text_that_does_nothing_does_not_count(package: Package, text: str) -> None:
    parent, child = classes()
    before = class_digest(parent), class_digest(child)
    assert text != PARENT
    package(parent=text)
    assert (class_digest(parent), class_digest(child)) == before


def test_an_edit_counts_for_the_class_and_for_what_inherits_it(package: Package) -> None:
    parent, child = classes()
    before = class_digest(parent), class_digest(child)
    package(parent=PARENT.replace("RATE > 0", "RATE > 1"))
    assert class_digest(parent) != before[0]
    assert class_digest(child) != before[1]


def test_an_edit_of_a_child_leaves_its_parent_alone(package: Package) -> None:
    parent, child = classes()
    before = class_digest(parent), class_digest(child)
    package(child=CHILD.replace('"child"', '"other"'))
    assert class_digest(parent) == before[0]
    assert class_digest(child) != before[1]


def test_what_a_module_imports_of_its_package_counts_and_its_neighbours_do_not(package: Package) -> None:
    parent, child = classes()
    before = class_digest(parent), class_digest(child)
    package(unused="X = 2\n")
    assert (class_digest(parent), class_digest(child)) == before
    package(rate="RATE = 2\n")
    assert class_digest(parent) != before[0]
    assert class_digest(child) != before[1]


def test_a_digest_tells_classes_apart(package: Package) -> None:
    parent, child = classes()
    assert class_digest(parent) != class_digest(child)
    assert len({class_digest(entry.cls) for entry in METHODS.entries().values()}) == len(METHODS.entries())


@pytest.mark.parametrize("name", METHODS.entries())
def test_a_built_in_method_is_its_file_its_parents_and_what_these_borrow(name: str) -> None:
    cls = METHODS[name]
    sources = {source.name: source for source in closure(cls)}
    covered = set(sources)
    parents = {base.__module__ for base in cls.__mro__ if base.__module__.startswith("fedsynth.methods.")}
    assert f"fedsynth.methods.{name}" in covered
    assert parents <= covered
    borrowed = {module for source in sources.values() for module in source.imports}
    assert {module for module in covered - parents if module.startswith("fedsynth.methods.")} <= borrowed
    assert all(module.startswith(("fedsynth.methods.", "fedsynth.networks.")) for module in covered)


def test_a_network_is_its_file_and_the_blocks_that_it_is_made_of() -> None:
    covered = {source.name for source in closure(NETWORKS["personalised"])}
    assert {
        f"fedsynth.networks.{name}" for name in ("personalised", "resnet", "blocks", "network", "discriminator")
    } <= covered
    assert "fedsynth.networks.unet" not in covered
    assert all(name.startswith("fedsynth.networks") for name in covered)


def test_a_data_set_is_all_of_its_package() -> None:
    package = DATASETS["phantom"].__module__.rpartition(".")[0]
    folder = Path(str(import_module(package).__file__)).parent
    covered = {source.name for source in closure(DATASETS["phantom"])}
    assert {f"{package}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"} <= covered
