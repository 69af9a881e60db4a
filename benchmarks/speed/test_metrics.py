"""What scoring test slices costs: all that is scored of them, against what is scored of validation slices, and a forward pass."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from fedsynth.benchmarks.speed.turns import in_turns
from fedsynth.evaluation.columns import FIRST
from fedsynth.evaluation.scores import scores
from fedsynth.federation import Columns
from fedsynth.registry import METRICS, NETWORKS


@pytest.mark.parametrize("size", [64, 256])
def test_metrics(benchmark: BenchmarkFixture, size: int) -> None:
    """16 slices with lesions in half of them; the forward pass is that of the default network."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(16, 1, size, size, generator=rng) * 2 - 1
    prediction = target + 0.1 * torch.randn(target.shape, generator=rng)
    mask, lesions = target[:, 0] > -0.5, torch.zeros(16, size, size, dtype=torch.bool)
    lesions[::2, 20:40, 20:40] = True
    prediction, target, mask, lesions = (part.to(device) for part in (prediction, target, mask, lesions))
    columns = Columns(sites=4, contrasts=4)
    net = NETWORKS["resnet"]().generator(columns).to(device).eval()
    code = torch.zeros(16, columns.length, device=device)

    def everything() -> None:
        scores(prediction, target, mask, lesions)

    judging = {name: METRICS[name]() for name in FIRST}
    rivals = {"of validation": lambda: scores(prediction, target, metrics=judging)}
    if size == 64:  # a larger one takes minutes
        rivals["a forward pass"] = torch.no_grad()(lambda: net(target, code))
    in_turns(benchmark, everything, rivals, repeats=5)
