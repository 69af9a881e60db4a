"""A local step of ours against the bare step: the same nets and data in a loop that does nothing else.

The table's figures in brackets are ratios to the fastest of the group.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.nn import functional as F

from fedsynth.benchmarks.case import federation
from fedsynth.method import Method
from fedsynth.networks.network import Network
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet
from fedsynth.options import TrainerOptions
from fedsynth.trainer import Trainer

STEPS = 8
NARROW = {"width": 8, "blocks": 3, "discriminator_width": 16, "discriminator_layers": 2}
NETWORKS: dict[str, Network] = {
    "resnet": ResNet(**NARROW),  # type: ignore[arg-type]  # integers by name
    "personalised": Personalised(latent=64, **NARROW),  # type: ignore[arg-type]  # as above
}


def ours(network: Network) -> Callable[[], None]:
    options = TrainerOptions(local_steps=STEPS, batch=4, zoom=1.0, device="auto")
    trainer = Trainer(Method(), network, federation("a", (64, 64)), options, seed=0)
    site = trainer.sites["a"]
    site.round = 1
    return lambda: site.train({})


def bare(network: Network) -> Callable[[], None]:
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = federation("a", (64, 64))
    tasks = [(0, 1), (1, 2)]
    images = torch.from_numpy(data.sites["a"].images).to(device)
    codes = [torch.from_numpy(data.code("a", task)).to(device) for task in data.tasks["a"]]
    generator = network.generator(data.columns).to(device)
    judges = [network.discriminator().to(device) for _ in tasks]
    fused = device.type == "cuda" or None
    move = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999), fused=fused)
    moves = [torch.optim.Adam(judge.parameters(), 2e-4, (0.5, 0.999), fused=fused) for judge in judges]
    orders = torch.randint(len(images), (STEPS, 4), device=device)

    def loop() -> None:
        for k in range(STEPS):
            (a, b), judge, judge_move = tasks[k % 2], judges[k % 2], moves[k % 2]
            batch = images[orders[k]].float()
            source, target = batch[:, a : a + 1], batch[:, b : b + 1]
            fake = generator(source, codes[k % 2].expand(4, -1))
            real_score, fake_score = judge(source, target), judge(source, fake.detach())
            judge_loss = (F.mse_loss(real_score, torch.ones_like(real_score)) + fake_score.square().mean()) / 2
            judge_move.zero_grad()
            judge_loss.backward()
            judge_move.step()
            score = judge(source, fake)
            loss = F.mse_loss(score, torch.ones_like(score)) + 100 * F.l1_loss(fake, target)
            move.zero_grad()
            loss.backward(inputs=list(generator.parameters()))
            move.step()

    return loop


@pytest.mark.parametrize("way", [ours, bare])
@pytest.mark.parametrize("network", NETWORKS)
def test_local_steps(benchmark: BenchmarkFixture, network: str, way: Callable[[Network], Callable[[], None]]) -> None:
    benchmark.group = f"{STEPS} local steps, {network}, width 8, batch 4 at 64x64"
    loop = way(NETWORKS[network])

    def timed() -> None:
        loop()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    benchmark.pedantic(timed, rounds=30, warmup_rounds=2)
