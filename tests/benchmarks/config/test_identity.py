"""A run's identity: it changes with everything that could change the numbers, and with nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from fedsynth.benchmarks.config.identity import changed, identity, plain
from fedsynth.benchmarks.config.schema import Run
from fedsynth.benchmarks.records.record import run_hash, run_name
from fedsynth.federation import FederationError
from fedsynth.federation.scenario import Scenario
from fedsynth.registry import DATASETS, METHODS, NETWORKS, OPTIMIZERS, REGISTRIES, SCHEDULES
from fedsynth.runtime.optimizers.optimizer import Optimizer
from fedsynth.runtime.options import UNCOUNTED, Precision, TrainerOptions
from fedsynth.runtime.schedules.schedule import Schedule

TASKS = {"ixi": ["T1->T2", "T2->PD"], "oasis": ["T1->T2"]}


def run(**parts: Any) -> Run:
    """A run of FedAvg; `parts` replace its own."""
    base: dict[str, Any] = {
        "method": METHODS["fedavg"](),
        "network": NETWORKS["resnet"](),
        "dataset": DATASETS["phantom"](),
        "scenario": Scenario("variable", ["ixi", "oasis"], TASKS),
        "trainer": TrainerOptions(device="cpu"),
        "seed": 0,
        "results": "results",
    }
    return Run(**base | parts)


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, Enum):
        return next(choice for choice in type(value) if choice is not value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [other(item) for item in value] if value else ["x"]
    if isinstance(value, Mapping):
        return dict(value) | {"x": "x"}
    if isinstance(value, Optimizer):
        return OPTIMIZERS["sgd"]()
    if isinstance(value, Schedule):
        return SCHEDULES["constant"]()
    return (value / 2 or 0.5) if isinstance(value, float) else value + 1


CONSTRAINED = ("zoom", "device", "corrupt", "execution")  # not every other value is one that a run on a CPU can have


@pytest.mark.parametrize("option", UNCOUNTED)
def test_how_a_run_is_executed_does_not_count(option: str) -> None:
    base = run()
    changed = replace(base.trainer, **{option: other(getattr(base.trainer, option))})
    assert identity(replace(base, trainer=changed)) == identity(base)


@pytest.mark.parametrize("part", ["method", "network", "trainer"])
def test_every_option_counts(part: str) -> None:
    base, seen = run(), set()
    thing = getattr(base, part)
    options = [option.name for option in fields(thing) if option.name not in (*UNCOUNTED, *CONSTRAINED)]
    for option in options:
        seen.add(run_name(identity(replace(base, **{part: replace(thing, **{option: other(getattr(thing, option))})}))))
    assert len(seen | {run_name(identity(base))}) == len(options) + 1


@pytest.mark.parametrize(
    "different",
    [
        {"seed": 1},
        {"method": METHODS["fedbn"]()},
        {"network": NETWORKS["unet"]()},
        {"dataset": DATASETS["phantom"](size=32)},
        {"trainer": TrainerOptions(device="cpu", zoom=1.0)},
        {"trainer": TrainerOptions(device="cpu", optimizer=OPTIMIZERS["adam"](betas=[0.9, 0.999]))},
        {"scenario": Scenario("common", ["ixi", "oasis"], TASKS)},
        {"scenario": Scenario("variable", ["ixi"], TASKS)},
        {"scenario": Scenario("variable", ["ixi", "oasis"], TASKS | {"oasis": ["T2->T1"]})},
        {"scenario": Scenario("variable", ["ixi", "oasis"], TASKS, newcomers=["oasis"])},
    ],
    ids=str,
)
def test_all_that_is_trained_counts(different: dict[str, Any]) -> None:
    assert run_hash(identity(run(**different))) != run_hash(identity(run()))


@pytest.mark.parametrize(
    "same",
    [
        {"results": "elsewhere"},
        {"scenario": Scenario("variable", ["oasis", "ixi"], dict(reversed(TASKS.items())))},
        {"scenario": Scenario("variable", ["ixi", "oasis"], {site: own[::-1] for site, own in TASKS.items()})},
        {"scenario": Scenario("variable", ["ixi", "oasis"], TASKS | {"midas": ["T1->T2"]})},
        {"scenario": Scenario("variable", ["ixi", "oasis"], {"default": ["T1->T2"], "ixi": TASKS["ixi"]})},
    ],
    ids=["folder", "order of sites", "order of tasks", "tasks of a site that takes no part", "tasks by default"],
)
def test_what_changes_no_number_does_not_count(same: dict[str, Any]) -> None:
    assert identity(run(**same)) == identity(run())


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_a_run_has_one_name_wherever_it_is_computed(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    names = set()
    for count in (0, 2):  # a login node, and a node with two GPUs
        monkeypatch.setattr("torch.cuda.is_available", lambda count=count: count > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda count=count: count)
        names.add(run_name(identity(run(trainer=TrainerOptions(device=device)))))
    assert len(names) == 1
    kind = TrainerOptions(device=device.partition(":")[0])
    assert names == {run_name(identity(run(trainer=kind)))}  # which of the GPUs it is changes no number
    assert names != {run_name(identity(run(trainer=TrainerOptions(device="cpu"))))}


def test_where_the_data_lie_and_what_they_are_called_does_not_count(tmp_path: Path) -> None:
    small = DATASETS["phantom"](size=16, slices=1, train=1, val=1, test=1)
    keep: Any = DATASETS["prepared"]
    keep.keep(small, tmp_path / "ours")
    shutil.copytree(tmp_path / "ours", tmp_path / "jane" / "scans")
    names = {run_name(identity(run(dataset=keep([str(tmp_path / at)])))) for at in ("ours", "jane/scans")}
    assert len(names) == 1
    what = identity(run(dataset=keep([str(tmp_path / "ours")])))
    assert str(tmp_path) not in repr(what)
    assert run_name(what | {"dataset": {"name": "another"}}) in names


def test_data_that_changed_make_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(run())
    monkeypatch.setattr(DATASETS["phantom"], "fingerprint", lambda self, site: f"new {site}")
    after = identity(run())
    assert after["data"] == {"ixi": "new ixi", "oasis": "new oasis"}
    assert run_hash(after) != run_hash(before)


def test_code_that_changed_makes_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(run())
    codes = {entry.cls: "new" for kind in REGISTRIES.values() for entry in kind.entries().values()}
    monkeypatch.setattr("fedsynth.benchmarks.config.identity.digests", lambda: codes)
    assert run_hash(identity(run())) != run_hash(before)


def test_another_version_of_the_engine_s_numbers_makes_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(run())
    monkeypatch.setattr("fedsynth.benchmarks.config.identity.NUMERICS", before["numerics"] + 1)
    assert run_hash(identity(run())) != run_hash(before)


def test_the_name_says_what_it_is_and_is_a_folder() -> None:
    what = identity(run(scenario=Scenario("my own common", ["ixi"], TASKS), seed=3))
    assert run_name(what) == f"fedavg-my_own_common-s3-{run_hash(what)}"


def test_an_impossible_scenario_has_no_identity() -> None:
    with pytest.raises(FederationError, match="needs PD, which site 'midas' lacks"):
        identity(run(scenario=Scenario("variable", ["midas"], {"midas": ["T1->PD"]})))


def test_changed_options_are_those_that_are_not_defaults() -> None:
    assert changed(NETWORKS["resnet"]()) == {}
    assert changed(NETWORKS["resnet"](width=8, blocks=9)) == {"width": 8}
    assert changed(TrainerOptions(precision=Precision.bf16, rounds=9)) == {"precision": "bf16", "rounds": 9}
    assert changed(OPTIMIZERS["adam"](betas=[0.9, 0.99])) == {"betas": [0.9, 0.99]}


def test_plain_values_are_json() -> None:
    value = {Precision.bf16: (1, float("inf")), "nested": [{"x": float("nan")}]}
    assert plain(value) == {"bf16": [1, "inf"], "nested": [{"x": "nan"}]}
