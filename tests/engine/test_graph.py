"""Which steps are captured and played back, with what, and what is counted: all but CUDA's own part of it.

A recorder stands in for the graph: it plays a step by running it, on the batch that the graph would read. On a GPU,
tests/engine/test_gpu.py plays real graphs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.federations import federation, trainer
from support.probes import Everything, facts
from torch import Tensor

from fedsynth.feed import Batch
from fedsynth.method import Method
from fedsynth.runtime.options import Execution
from fedsynth.site import SiteState
from fedsynth.step import Pairs, Step, step
from fedsynth.step.graph import StepGraph
from fedsynth.step.slot import Slot
from fedsynth.trainer import Trainer

RECORDED: list[str] = []
LATEST: list[Callable[[Batch, dict[str, Tensor]], None]] = []


class Recorder(StepGraph):
    """Plays a step by running it."""

    def record(self, noise: Any, pool: Any, stream: Any, step: Callable[[], None]) -> None:
        RECORDED.append(str(self.batch.task))

    def play(self, batch: Batch) -> None:
        torch._foreach_copy_(self.inputs, batch.tensors())
        LATEST[-1](self.batch, self.losses)  # the step of the site that is in the slot now
        self.played = True


@pytest.fixture(autouse=True)
def _recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    RECORDED.clear()
    monkeypatch.setattr(step, "StepGraph", Recorder)
    local = Step.local

    def watched(
        self: Step, slot: Slot, mode: Any, batch: Batch, pairs: Callable[[Batch], Pairs], losses: dict[str, Tensor]
    ) -> None:
        LATEST[:] = [lambda batch, losses: self.run(pairs(batch), slot.players, slot.optimizers, losses)]
        local(self, slot, mode, batch, pairs, losses)

    monkeypatch.setattr(Step, "local", watched)


def recorded(method: Method, execution: Execution = Execution.graph, **given: Any) -> Trainer:
    of = trainer(method, sites=("ixi", "oasis"), **{"local_steps": 12} | given)
    of.step.execution = execution
    return of


def without_losses(outcome: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outcome.items() if name not in ("curve", "costs")}


@pytest.mark.parametrize("method", [Method(), Everything()], ids=["fedavg", "everything"])
def test_a_played_step_is_the_step(method: Method) -> None:
    played, eager = (recorded(method, execution).run() for execution in (Execution.graph, Execution.eager))
    assert without_losses(facts(played)) == without_losses(facts(eager))
    for one, other in zip(played.curve, eager.curve, strict=True):
        assert one["loss_generator"] == pytest.approx(other["loss_generator"], rel=1e-5)
        assert one["loss_discriminator"] == pytest.approx(other["loss_discriminator"], rel=1e-5)
    assert played.costs["flops"] == eager.costs["flops"]
    assert RECORDED


@pytest.mark.slow
def test_one_graph_a_task_and_phase() -> None:
    of = recorded(Everything(), rounds=2, local_steps=64)
    of.round(1)
    assert sorted(RECORDED) == sorted(2 * [str(task) for site in of.sites.values() for task in site.tasks])
    of.round(2)  # another level in the memory, a number that Python may read: another graph
    assert len(RECORDED) == 16


def test_without_numbers_no_graph_is_made_twice() -> None:
    of = recorded(Method(), rounds=3)
    for round in (1, 2, 3):
        of.round(round)
    assert len(RECORDED) == 4


def test_a_step_that_is_captured_first_in_a_round_counts_its_losses() -> None:
    """Three steps a round of one task: one counts operations, two warm up, and the fourth opens the second round."""
    one = federation(("ixi",), {"ixi": ("T1->T2",)})
    curves = []
    for execution in (Execution.graph, Execution.eager):
        of = trainer(Method(), sites=one, local_steps=3, rounds=3)
        of.step.execution = execution
        curves.append([(row["loss_generator"], row["loss_discriminator"]) for row in of.run().curve])
    assert curves[0] == [pytest.approx(row, rel=1e-5) for row in curves[1]]
    assert len(RECORDED) == 1


@dataclass
class Made(Method):
    """Its step makes memory of its own, which a step played back would not."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        yield from super().step(site, batch)
        site.memory["last"] = site.pack()


def test_a_step_that_makes_memory_is_not_captured_before_it_is_there() -> None:
    tasks = dict.fromkeys(("brats", "ixi", "midas", "oasis"), ("T1->T2",))

    def outcome(execution: Execution) -> dict[str, Any]:
        of = trainer(Made(), sites=federation(tuple(tasks), tasks), resident=1, local_steps=5)
        of.step.execution = execution
        return without_losses(facts(of.run()))

    assert outcome(Execution.graph) == outcome(Execution.eager)


def test_what_is_thrown_away_has_its_losses_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "GRAPHS", 1)
    curves = [recorded(Method(), execution).run().curve for execution in (Execution.graph, Execution.eager)]
    for one, other in zip(*curves, strict=True):
        assert one["loss_generator"] == pytest.approx(other["loss_generator"], rel=1e-5)


def test_warm_up_steps_are_real_steps() -> None:
    of = recorded(Method(), local_steps=step.WARM_UP)
    of.round(1)
    assert RECORDED == []
    assert of.state.costs.gradient_evaluations == 2 * 2 * step.WARM_UP  # sites x players x steps


@dataclass
class Uncapturable(Method):
    """Asks the device for a number in every step."""


def test_what_cannot_be_captured_runs_eagerly_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(Recorder, "record", refuse)
    with caplog.at_level(logging.WARNING):
        outcome = recorded(Uncapturable()).run()
    assert outcome.execution == (
        "eager, as it cannot be captured: RuntimeError: operation not permitted when stream is capturing"
    )
    assert [record.getMessage().count("Uncapturable") for record in caplog.records] == [1]
    assert without_losses(facts(outcome)) == without_losses(facts(recorded(Uncapturable(), Execution.eager).run()))


def test_the_graph_that_was_played_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "GRAPHS", 1)
    of = recorded(Method(), rounds=1)
    of.round(1)
    assert all(len(site.slot.graphs) <= 1 for site in of.sites.values())
    assert len(RECORDED) > 4


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(ValueError, match=r"trainer\.execution=graph needs a CUDA device"):
        trainer(Method(), execution=Execution.graph)


def test_batches_are_copied_with_all_that_is_in_them() -> None:
    of = recorded(Method())
    batch = of.sites["ixi"].schedule()[0].make()
    copy = batch.copy()
    assert all(torch.equal(a, b) for a, b in zip(batch.tensors(), copy.tensors(), strict=True))
    assert not {t.data_ptr() for t in batch.tensors()} & {t.data_ptr() for t in copy.tensors()}
    second = of.sites["ixi"].feeds["ixi"].train(1, second=True)[0].make()
    assert len(second.copy().tensors()) == 2 * len(batch.tensors())
