"""Every method against an oracle, which says in plain torch what its paper says (support/oracles/world.py): three rounds, in each
of which two of three sites take part, which have different sizes and of which one straggles."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.oracles import averages, imaging, mixtures, personal, servers, world
from support.oracles.recorded import SIZES, in_float64, record
from support.oracles.world import Ending

from fedsynth.exchange import Message
from fedsynth.method import Method
from fedsynth.methods.fedcycle import Losses
from fedsynth.methods.perfedavg import Variant
from fedsynth.registry import METHODS
from fedsynth.runtime.optimizers.adam import Adam
from fedsynth.runtime.optimizers.optimizer import Optimizer
from fedsynth.runtime.optimizers.sgd import SGD
from fedsynth.site import SiteState
from fedsynth.step.slot import Slot

NAMES = METHODS.entries()
MODULES = (averages, servers, personal, mixtures, imaging)
ORACLES: dict[str, Callable[..., Ending]] = {
    name: found for module in MODULES for name, found in vars(module).items() if name in NAMES
}
CLOSE = 1e-9  # both compute in float64
LOOSER = {
    "pflsynth_pooled": 1e-6,
    "fedmm": 1e-7,
}  # their training amplifies rounding: images differ by 2e-8 and weights by 3e-10

# Options under which a default that is too weak, or off, for three rounds on small nets does something.
CASES: dict[str, list[dict[str, Any]]] = {
    "fedprox": [{"mu": 3.0}],
    "feddyn": [{"alpha": 3.0}],
    "scaffold": [{"eta_g": 0.7}],
    "apfl": [{}, {"alpha": 0.3, "adaptive": True}],
    "pfedme": [{"inner_steps": 2, "beta": 0.7}],
    "perfedavg": [{"variant": Variant.fo}, {"variant": Variant.hf}],
    "fedala": [{"layers": 2}],
    "fedamp": [{"alpha": 0.7, "lam": 3.0}],
    "fedcycle": [{}, {"losses": Losses.unpaired, "identity": 5.0}],
    "prrfl": [{}, {"alpha1": 0.5, "alpha2": 1.5, "window": 0.5}, {"alpha1": 1.5, "alpha2": 2.0}],
}


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    with in_float64():
        yield


@pytest.mark.parametrize("optimizer", [SGD, Adam])
@pytest.mark.parametrize(
    ("name", "given"),
    [pytest.param(n, o, id=" ".join([n, *map(str, o.values())])) for n in ORACLES for o in CASES.get(n, [{}])],
)
def test_three_rounds_are_the_oracles(name: str, given: dict[str, Any], optimizer: type[Optimizer]) -> None:
    seen, ending = record(METHODS[name](**given), optimizer)
    assert ORACLES[name](seen, **plain(given)).difference(ending, LOOSER.get(name, CLOSE)) == ""


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as an oracle has them: the value of an Enum."""
    return {name: getattr(value, "value", value) for name, value in given.items()}


def test_two_of_three_sites_of_different_sizes_take_part_and_one_straggles() -> None:
    seen, _ = record(METHODS["fedavg"](), SGD)
    assert [sorted(round.batches) for round in seen.rounds] == [["brats", "ixi"], ["brats", "oasis"], ["ixi", "oasis"]]
    assert seen.samples == SIZES
    assert len(set(SIZES.values())) == len(SIZES)
    done = [{name: len(batches) for name, batches in round.batches.items()} for round in seen.rounds]
    assert [name for steps in done for name in steps if steps[name] < seen.steps[name]] == ["oasis", "oasis"]
    assert len({round.lr for round in seen.rounds}) == 2


def test_every_method_has_an_oracle() -> None:
    assert set(NAMES) == set(ORACLES)


@pytest.mark.parametrize("name", ORACLES)
def test_an_oracle_has_the_defaults_of_the_method(name: str) -> None:
    method = METHODS[name]()
    for option, parameter in list(inspect.signature(ORACLES[name]).parameters.items())[1:]:
        found = (
            getattr(method, option)
            if hasattr(method, option)
            else vars(import_module(method.__module__))[option.upper()]
        )
        assert plain({option: found}) == {option: parameter.default}


def test_oracles_import_nothing_of_the_suite() -> None:
    for module in (*MODULES, world):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert all(name.split(".")[0] in ALLOWED for name in names), (module, names)


ALLOWED = {
    "__future__",
    "collections",
    "copy",
    "dataclasses",
    "math",
    "typing",
    "torch",
    "numpy",
    "functools",
    "world",
    "averages",
}


# --- an error is found -----------------------------------------------------------------------------------------------

Broken = Callable[[Callable[..., Any]], Callable[..., Any]]  # makes a wrong function of a right one


def weighing_all_alike(upload: Callable[..., Message]) -> Callable[..., Message]:
    return lambda *given: Message(upload(*given), weight=1)


def at_twice_the_rate(rate: Callable[..., None]) -> Callable[..., None]:
    return lambda slot, factor: rate(slot, factor * 2)


def nothing(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_: 0.0


ERRORS: dict[str, tuple[str, type, str, Broken]] = {
    "the mean is not weighted": ("fedavg", Method, "upload", weighing_all_alike),
    "another learning rate": ("fedavg", Slot, "rate", at_twice_the_rate),
    "no pull towards what was received": ("fedprox", SiteState, "distance", nothing),
    "the personal model is not pulled": ("ditto", SiteState, "distance", nothing),
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_found(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, owner, attribute, broken = ERRORS[error]
    monkeypatch.setattr(owner, attribute, broken(getattr(owner, attribute)))
    options = CASES.get(name, [{}])[-1]
    seen, ending = record(METHODS[name](**options), Adam)
    assert "differs by" in ORACLES[name](seen, **plain(options)).difference(ending, 1e-5)
