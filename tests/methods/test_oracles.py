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
import torch
from support.oracles import averages, imaging, mixtures, personal, rivals, servers, world
from support.oracles.recorded import SIZES, doubles, record
from support.oracles.world import Ending

from fedsynth.exchange import Message
from fedsynth.method import Method
from fedsynth.methods import fedcycle, perfedavg
from fedsynth.registry import METHODS
from fedsynth.runtime.optimizers.adam import Adam
from fedsynth.runtime.optimizers.optimizer import Optimizer
from fedsynth.runtime.optimizers.sgd import SGD
from fedsynth.site import SiteState
from fedsynth.step.slot import Slot

NAMES = METHODS.entries()
MODULES = (averages, servers, personal, mixtures, imaging, rivals)
ORACLES: dict[str, Callable[..., Ending]] = {
    name: found for module in MODULES for name, found in vars(module).items() if name in NAMES
}
CLOSE = 1e-9  # both compute in float64
LOOSER = {
    "fedmm": 1e-7,  # it amplifies rounding: weights differ by 3e-10
    "feddecorr": 1e-7,  # it adds 1e-8 to variances, which the oracle does without
}
POOLED = {
    "pgan",
    "pix2pix",
    "pflsynth_pooled",
}  # they are `pooled` to the bit on the networks that they name (test_pooled.py)

# Options under which a default that is too weak, or off, for three rounds on small nets does something.
CASES: dict[str, list[dict[str, Any]]] = {
    "fedprox": [{"mu": 300.0}],
    "feddyn": [{"alpha": 300.0}],
    "ditto": [{"lam": 300.0}],
    "finetune": [{"steps": 3}],
    "scaffold": [{"eta_g": 0.7}],
    "apfl": [{}, {"alpha": 0.3, "adaptive": True}],
    "pfedme": [{"inner_steps": 2, "beta": 0.7}],
    "perfedavg": [{"variant": perfedavg.Variant.fo}, {"variant": perfedavg.Variant.hf}],
    "fedala": [{"layers": 2}],
    "fedamp": [{"alpha": 0.7, "lam": 300.0, "sigma": 1e-6}],
    "fedcycle": [{}, {"losses": fedcycle.Losses.unpaired, "identity": 5.0}],
    "prrfl": [{}, {"alpha1": 0.5, "alpha2": 1.5, "window": 0.5}, {"alpha1": 1.5, "alpha2": 2.0}],
}


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    with doubles():
        yield


@pytest.mark.parametrize("optimizer", [SGD, pytest.param(Adam, marks=pytest.mark.slow)])
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
    assert set(NAMES) - POOLED == set(ORACLES)


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


def weighing_all_alike(method: Method, site: SiteState, upload: Callable[..., Message] = Method.upload) -> Message:
    return Message(upload(method, site), weight=1)


def at_twice_the_rate(slot: Slot, factor: float, rate: Callable[..., None] = Slot.rate) -> None:
    rate(slot, factor * 2)


def nothing(*_: Any) -> float:
    return 0.0


Error = tuple[str, Any, str, Any]  # in the run of which method, on what, which attribute, is what
ERRORS: dict[str, Error] = {
    "the mean is not weighted": ("fedavg", Method, "upload", weighing_all_alike),
    "another learning rate": ("local", Slot, "rate", at_twice_the_rate),
    "no pull to what was received": ("fedprox", SiteState, "distance", nothing),
    "running statistics travel": ("silobn", METHODS["silobn"], "travels", Method.travels),
    "the body trains all the time": ("fedrep", METHODS["fedrep"], "phase", lambda *_: "body"),
    "no momentum": ("fedavgm", METHODS["fedavgm"], "aggregate", Method.aggregate),
    "changes are not normalised": ("fednova", METHODS["fednova"], "aggregate", Method.aggregate),
    "gradients are not corrected": ("scaffold", SiteState, "inner", nothing),
    "the personal model is not pulled": ("ditto", SiteState, "distance", nothing),
    "theta is uploaded": ("pfedme", METHODS["pfedme"], "upload", Method.upload),
    "the gradient here, not a step ahead": ("perfedavg", perfedavg, "moved", lambda site, way: site.nets),
    "no weights are learned": ("fedala", SiteState, "slope", lambda site, *_: torch.zeros(site.plan.model.numel)),
    "what was received is loaded": ("fedamp", METHODS["fedamp"], "receive", Method.receive),
    "the first step is contrasted too": ("fedmri", METHODS["fedmri"], "phase", lambda *_: "contrast"),
    "the code is not reversed": ("fedcycle", fedcycle, "swap", lambda batch: batch.code),
    "the deputy serves": ("prrfl", METHODS["prrfl"], "synthesise", Method.synthesise),
}


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_found(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, owner, attribute, wrong = ERRORS[error]
    monkeypatch.setattr(owner, attribute, wrong)
    options = CASES.get(name, [{}])[0]
    seen, ending = record(METHODS[name](**options), Adam)
    assert ORACLES[name](seen, **plain(options)).difference(ending, 1e-5) != ""
