"""A run that was stopped, in whichever round, ends exactly as one that was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.federations import federation, options, resnet
from support.probes import Everything, facts

from fedsynth.federation import Conditions
from fedsynth.method import Method
from fedsynth.methods.fedbabu import FedBABU
from fedsynth.methods.finetune import Finetune
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Network
from fedsynth.runtime import checkpoint
from fedsynth.runtime.optimizers.adamw import AdamW
from fedsynth.runtime.optimizers.sgd import SGD
from fedsynth.runtime.options import Precision, TrainerOptions
from fedsynth.runtime.schedules.cosine import Cosine
from fedsynth.trainer import Trainer

ROUNDS = 3
USUAL = options(rounds=ROUNDS, participation=0.6, zoom=1.1, local_steps=2)
CASES: dict[str, tuple[Method, Network, TrainerOptions]] = {
    "everything": (Everything(), resnet(norm=Norm.batch), USUAL),
    "sparse checkpoints": (Everything(), resnet(), replace(USUAL, checkpoint_every=2, validate_every=2)),
    "clipped": (Everything(), resnet(), replace(USUAL, clip=1.0)),
    "sgd": (Everything(), resnet(), replace(USUAL, optimizer=SGD(), lr=1e-2)),
    "momentum": (
        Everything(),
        resnet(),
        replace(USUAL, optimizer=SGD(momentum=0.9, weight_decay=1e-2), lr=1e-3, schedule=Cosine(), resident=1),
    ),
    "adamw": (Everything(), resnet(), replace(USUAL, optimizer=AdamW(weight_decay=0.1), resident=1)),
    "bf16": (Everything(), resnet(), replace(USUAL, precision=Precision.bf16)),
}


FEW = ("everything",)  # of which `make test` hears too


class Stopped(Exception):
    """The process is gone."""


def stop_in(round: int, call: int) -> Callable[[int, int, str, float], None]:
    """A progress that raises at the call-th site of a round, after that site trained."""
    calls = []

    def progress(now: int, rounds: int, site: str, loss: float) -> None:
        calls.extend([site] if now == round else [])
        if len(calls) == call:
            raise Stopped

    return progress


def of_case(case: str, folder: Path, progress: Any = None) -> Trainer:
    method, network, given = CASES[case]
    watched = {"progress": progress} if progress else {}
    return Trainer(method, network, federation(("brats", "ixi", "oasis")), given, seed=1, folder=folder, **watched)


@pytest.mark.slow
@pytest.mark.usefixtures("_any_machine")
@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case not in FEW)) for case in CASES])
def test_stopped_in_every_round_is_as_if_never_stopped(case: str, tmp_path: Path) -> None:
    whole = facts(of_case(case, tmp_path / "whole").run())
    for round in range(1, ROUNDS + 1):
        with pytest.raises(Stopped):
            of_case(case, tmp_path / "stopped", stop_in(round, 1 + round % 2)).run()
    assert facts(of_case(case, tmp_path / "stopped").run()) == whole


@pytest.mark.slow
@pytest.mark.parametrize("case", ["everything", "sparse checkpoints"])
def test_stopped_before_scoring_is_as_if_never_stopped(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = facts(of_case(case, tmp_path / "whole").run())

    def stopped(self: Trainer) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_outcome", stopped)
        with pytest.raises(Stopped):
            of_case(case, tmp_path / "stopped").run()
    again = of_case(case, tmp_path / "stopped", stop_in(1, 1))  # would raise if it trained
    assert facts(again.run()) == whole


def test_a_finished_run_is_scored_again_without_training(tmp_path: Path) -> None:
    first = facts(of_case("everything", tmp_path).run())
    assert facts(of_case("everything", tmp_path, stop_in(1, 1)).run()) == first


def test_a_run_that_diverged_is_not_tried_again(tmp_path: Path) -> None:
    method, network, given = CASES["everything"]
    broken = replace(given, lr=1e30)
    outcomes = [
        facts(Trainer(method, network, federation(("ixi",)), broken, seed=1, folder=tmp_path).run()) for _ in range(2)
    ]
    assert outcomes[0]["status"][0] == "diverged"
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("change", ["seed", "options", "method", "sites"])
def test_another_runs_checkpoint_is_refused(change: str, tmp_path: Path) -> None:
    method, network, given = CASES["sgd"]
    given = replace(given, rounds=1)
    Trainer(method, network, federation(("brats", "ixi")), given, seed=1, folder=tmp_path).run()
    other = Trainer(
        Everything(mu=0.2) if change == "method" else method,
        network,
        federation(("brats", "oasis" if change == "sites" else "ixi")),
        replace(given, lr=0.5) if change == "options" else given,
        seed=2 if change == "seed" else 1,
        folder=tmp_path,
    )
    with pytest.raises(ValueError, match="is of another run; give every run a folder of its own"):
        other.run()


def test_a_run_goes_on_where_it_began_and_on_no_other_kind_of_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that asked for any device has one name, and its checkpoint knows the kind that it got."""
    method, network, given = CASES["sgd"]
    given, data = replace(given, device="auto"), federation(("brats", "ixi"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Trainer(method, network, data, replace(given, rounds=1), seed=1, folder=tmp_path).run()
    other = Trainer(method, network, data, replace(given, rounds=1), seed=1, folder=tmp_path)
    assert other.run().status == "done"
    assert [entry.partition(" ")[0] for entry in other.state.hardware] == ["cpu"]
    made = checkpoint.load(tmp_path / "checkpoint.safetensors", other.device)
    checkpoint.save(tmp_path / "checkpoint.safetensors", made | {"device": "cuda"})
    with pytest.raises(
        ValueError, match=r"began on cuda, and would go on here on cpu: .* Go on with it where it began"
    ):
        Trainer(method, network, data, replace(given, rounds=1), seed=1, folder=tmp_path).run()


def test_running_twice_from_nothing_is_the_same(tmp_path: Path) -> None:
    runs = [facts(of_case("everything", tmp_path / name).run()) for name in "ab"]
    assert runs[0] == runs[1]


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    tree = {
        "tensors": {"a": torch.randn(3, 2), "b": torch.arange(3), "c": torch.tensor(True), "d": torch.zeros(0)},
        "half": torch.randn(4).bfloat16(),
        "strided": torch.randn(4, 3).t(),
        "numbers": [1, 0.1, float("inf"), True, None, "text"],
    }
    checkpoint.save(tmp_path / "state.safetensors", tree)
    loaded = checkpoint.load(tmp_path / "state.safetensors", torch.device("cpu"))
    assert checkpoint.tree_digest(loaded) == checkpoint.tree_digest(tree)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_digest_sees_every_bit_name_shape_and_type() -> None:
    plain = {"a": torch.zeros(4), "n": 1}
    others: list[dict[str, Any]] = [
        {"a": torch.tensor([0, 0, 0, -0.0]), "n": 1},
        {"a": torch.zeros(2, 2), "n": 1},
        {"a": torch.zeros(4, dtype=torch.int32), "n": 1},
        {"b": torch.zeros(4), "n": 1},
        {"a": torch.zeros(4), "n": 2},
    ]
    assert len({checkpoint.tree_digest(tree) for tree in (plain, *others)}) == 6
    assert checkpoint.tree_digest({"n": 1, "a": torch.zeros(4)}) == checkpoint.tree_digest(plain)


def test_a_failed_save_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"round": 1})

    def full_disk(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full_disk)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(path, {"round": 2})
    assert checkpoint.load(path, torch.device("cpu")) == {"round": 1}
    checkpoint.save(path, {"round": 3})
    assert checkpoint.load(path, torch.device("cpu")) == {"round": 3}


@pytest.mark.parametrize("method", [Finetune(), FedBABU()])
def test_what_a_straggler_serves_is_the_same_after_a_restart(method: Method, tmp_path: Path) -> None:
    """The last round of each site has its own number of steps; fine-tuning takes those of a whole round."""
    sites = replace(federation(("brats", "ixi")), conditions=Conditions(straggle=0.99))
    made = partial(Trainer, method, resnet(blocks=1), sites, options(local_steps=6, validate_every=2), 0)
    trained = made(tmp_path)
    for round in (1, 2):
        trained.round(round)
    again = made(tmp_path).run()
    assert facts(again) == facts(made(tmp_path / "whole").run())
    last = made(tmp_path)
    last.run()
    last.save_model()
    served = made(tmp_path)
    served.serve_selected()
    rows = served.score("test")
    assert rows == [
        {key: value for key, value in row.items() if key != "selection"}
        for row in again.scores
        if row["selection"] == "selected"
    ]


def test_a_damaged_file_is_named_and_never_trained_from(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        of_case("everything", tmp_path, stop_in(2, 1)).run()
    state = checkpoint.load(tmp_path / "checkpoint.safetensors", torch.device("cpu"))["state"]
    assert {*state["curve"]} == {"bytes", "sha256"}  # of its file, which is only appended to
    files = sorted([*tmp_path.rglob("*.safetensors"), tmp_path / "curve.jsonl"])
    assert {path.parent.name for path in files} == {tmp_path.name, "sites"}
    for path in files:
        content = path.read_bytes()
        for damaged in (content[:-1], flipped(content, len(content) - 1), flipped(content, 20), b""):
            path.write_bytes(damaged)
            with pytest.raises(checkpoint.CheckpointError, match=path.name):
                of_case("everything", tmp_path).run()
        path.write_bytes(content)
    of_case("everything", tmp_path).run()


def flipped(content: bytes, place: int) -> bytes:
    """The content with one bit changed."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
