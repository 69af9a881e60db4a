"""`fedsynth cost`: what it measures, and the costs that every run notes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from support.federations import federation, options, resnet
from support.stores import TINY

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.running import cost
from fedsynth.method import Method
from fedsynth.runtime.device import measure_matrix_rate
from fedsynth.runtime.options import Precision
from fedsynth.trainer import Trainer
from fedsynth.trainer.outcome import Costs


@pytest.mark.slow
def test_it_measures_and_traces(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which has imported what a new one would."""
    monkeypatch.setattr(cost, "ProcessPoolExecutor", lambda workers, context: ThreadPoolExecutor(workers))
    small = [*TINY, "network.width=2", "--results", str(tmp_path)]
    assert main(["cost", "fedavg", "local", *small, "--rounds", "1", "--profile", str(tmp_path / "trace")]) == 0
    head, fedavg, local = capfd.readouterr().out.splitlines()
    assert head.split()[0] == "method"
    assert fedavg.split()[0] == "fedavg"
    assert float(local.split()[-4]) == 0.0  # megabytes up
    assert float(fedavg.split()[-4]) > 0.0
    assert "aten::" in (tmp_path / "trace/fedavg/summary.txt").read_text()
    assert (tmp_path / "trace/local/trace.json").exists()


@pytest.mark.slow
def test_what_cannot_be_measured_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "fedavgg", "experiment=smoke"]) == 2
    assert "fedavg" in capfd.readouterr().err


def test_operations_are_those_of_the_layers() -> None:
    """Of a residual network and PatchGAN, counted by hand: 2 k k C_in C_out H W a convolution, forward; the generator's once
    forward, and back by weights and by images but for its first layer; a judge's 3 times forward, twice back for itself, and once
    back to the image alone."""
    of = Trainer(Method(), resnet(), federation(("ixi",)), options(local_steps=1, batch=1, rounds=1), seed=0)
    of.round(1)
    w, side = 4, 16
    layers = [(1, w, 7, side), (w, 2 * w, 3, side // 2), (2 * w, 4 * w, 3, side // 4)]
    layers += 6 * [(4 * w, 4 * w, 3, side // 4)]
    transposed = [(4 * w, 2 * w, 3, side // 4), (2 * w, w, 3, side // 2)]  # places of the smaller side
    layers += [*transposed, (w, 1, 7, side)]
    flops = [2 * k * k * i * o * s * s for i, o, k, s in layers]
    generator = 3 * sum(flops) - flops[0]
    judge = [(2, w, 4, 8), (w, 2 * w, 4, 7), (2 * w, 1, 4, 6)]
    own = [2 * k * k * i * o * s * s for i, o, k, s in judge]
    assert of.step.flops == generator + 3 * sum(own) + 2 * (2 * sum(own) - own[0]) + sum(own)


def test_parts_are_parts_of_the_whole() -> None:
    of = Trainer(Method(), resnet(), federation(), options(), seed=0)
    found = of.run().costs
    parts = [value for name, value in found.items() if name.startswith("seconds_")]
    assert sum(parts) == pytest.approx(found["seconds"], rel=1e-6)
    assert all(value >= 0 for value in parts)
    assert 0 < found["floor_share"] < 1
    assert found["floor_share"] * found["matrix_rate"] * found["seconds"] == pytest.approx(found["flops"])
    assert Costs().summary(1.0)["floor_share"] == 0


def test_a_matrix_product_takes_the_time_that_its_rate_says() -> None:
    rates = [measure_matrix_rate(torch.device("cpu"), precision) for precision in (Precision.fp32, Precision.fp32)]
    assert max(rates) < 3 * min(rates)
