"""What only a GPU can show: captured steps are the steps, no step waits for the host, and a GPU run agrees with the CPU's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from support.federations import federation, personalised, trainer
from support.probes import Everything, facts

from fedsynth.benchmarks.contract.toy import ToyFederation
from fedsynth.method import Method
from fedsynth.registry import METHODS
from fedsynth.runtime.options import Execution, Offload, Precision
from fedsynth.step.step import WARM_UP
from fedsynth.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
FIRST = WARM_UP + 2  # the step that is captured first, where there is one task: one counts operations, two warm up


def on_gpu(method: Method, execution: Execution = Execution.graph, **given: Any) -> Trainer:
    settings = {"device": "cuda", "deterministic": True, "execution": execution} | given
    return trainer(method, personalised(), **settings)


def alone(execution: Execution, steps: int) -> torch.Tensor:
    """All weights of a site with one task after so many local steps."""
    one = federation(("ixi",), {"ixi": ("T1->T2",)})
    given = {"device": "cuda", "deterministic": True, "execution": execution, "local_steps": steps, "rounds": 1}
    of = trainer(METHODS["fedavg"](), personalised(), one, **given)
    of.round(1)
    [site] = of.sites.values()
    assert bool(site.slot.graphs) is (execution is Execution.graph)
    return torch.cat([tensor.flatten() for tensor in site.slot.tensors.values()])


def test_a_captured_step_is_the_eager_one_to_the_bit() -> None:
    assert torch.equal(alone(Execution.graph, FIRST), alone(Execution.eager, FIRST))


def test_twenty_captured_steps_are_the_eager_ones() -> None:
    torch.testing.assert_close(
        alone(Execution.graph, FIRST + 20), alone(Execution.eager, FIRST + 20), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", METHODS.entries())
def test_every_method_is_captured_or_says_why_not(name: str) -> None:
    toy = ToyFederation.of(METHODS[name])
    scores = {}
    for execution in (Execution.graph, Execution.eager):
        given = {"device": "cuda", "deterministic": True, "execution": execution, "local_steps": 12, "rounds": 2}
        of = trainer(toy.method, toy.network, **given)
        scores[execution] = [row["psnr"] for row in of.run().scores]
        if of.step.eager:
            pytest.skip(f"{name} cannot be captured: {of.step.eager}")
    np.testing.assert_allclose(scores[Execution.graph], scores[Execution.eager], atol=0.05)


@pytest.mark.parametrize("execution", [Execution.eager, Execution.graph])
@pytest.mark.parametrize("name", METHODS.entries())
def test_local_training_never_waits_for_the_host(name: str, execution: Execution) -> None:
    toy = ToyFederation.of(METHODS[name])
    of = trainer(toy.method, toy.network, device="cuda", rounds=4, local_steps=12, execution=execution)
    for round in (1, 2):  # lazily made state, and steps to be captured
        of.round(round)
    for site in of.sites.values():
        site.enter(2)  # once more: its numbers, if it has any, are those of a step that was captured
        message = of.method.download(of.server, site.name)
        site.received = message.model
        with site.hook("receive"):
            of.method.receive(site, message)
        steps = site.train({})
        next(steps)  # the schedule is sent over
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in steps:
                pass
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", [METHODS["fedavg"](), METHODS["pflsynth"]()])
def test_one_round_agrees_with_the_cpu(method: Method) -> None:
    network = dataclasses.replace(personalised(), dropout=0.0)  # the two devices draw different noise
    scores = {
        device: [row["psnr"] for row in trainer(method, network, device=device, rounds=1).run().scores]
        for device in ("cpu", "cuda")
    }
    np.testing.assert_allclose(scores["cuda"], scores["cpu"], atol=0.05)


@pytest.mark.parametrize("execution", [Execution.eager, Execution.graph])
def test_a_deterministic_run_repeats_exactly(execution: Execution) -> None:
    digests = [on_gpu(METHODS["pflsynth"](), execution, local_steps=12).run().digest for _ in range(2)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("offload", Offload)
def test_turns_change_no_number(offload: Offload) -> None:
    given = {"rounds": 3, "participation": 0.75, "execution": Execution.eager}
    whole = facts(on_gpu(Everything(), **given).run())
    assert facts(on_gpu(Everything(), **given, resident=1, offload=offload).run()) == whole


def test_more_sites_take_no_more_memory() -> None:
    peaks = []
    for count in (4, 16):
        tasks = {f"s{k}": ("T1->T2",) for k in range(count)}
        sites = federation(tuple(tasks), tasks)
        of = trainer(METHODS["fedavg"](), personalised(width=16), sites, device="cuda")
        torch.cuda.reset_peak_memory_stats()
        of.round(1)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.slow
def test_bf16_scores_within_the_spread_of_seeds() -> None:
    def score(precision: Precision, seed: int) -> float:
        given = {"device": "cuda", "precision": precision, "rounds": 4, "local_steps": 60}
        rows = trainer(METHODS["fedavg"](), personalised(width=16), seed=seed, **given).run().scores
        return float(np.mean([row["psnr"] for row in rows]))

    full = [score(Precision.fp32, seed) for seed in range(5)]
    half = np.mean([score(Precision.bf16, seed) for seed in range(5)])
    assert abs(half - np.mean(full)) < 2 * np.std(full, ddof=1)
