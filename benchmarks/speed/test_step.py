"""A local step of ours against the step written by hand, the step of the released code, and the least that it could take.

The same nets and slices, resident on the device. "bare step b1": eager PyTorch in its default precision that does nothing else
(peers/job.py: Bench), with the nets as they are when they are not compiled; b2 in bf16; b3 in bf16 with channels last. "b1 with
fused Adam" is what is left of b1 when it has our optimiser: the rest is what the framework costs. What is compiled takes minutes
to start the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from fedsynth.benchmarks.speed.floor import experiment, floor, operations
from fedsynth.benchmarks.speed.peers.job import Bench, Job
from fedsynth.benchmarks.speed.reference import Aligned, Model, write
from fedsynth.benchmarks.speed.turns import in_turns, seconds
from fedsynth.method import Method
from fedsynth.networks.network import Network
from fedsynth.runtime.device import has_bf16
from fedsynth.runtime.options import Execution, Precision
from fedsynth.trainer import Trainer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Configured(Job):
    """The step of an experiment, whose nets are those of conf/experiment/."""

    experiment: str = "demo"

    @classmethod
    def of(cls, name: str) -> Configured:
        run = experiment(name)
        size = vars(run.dataset)["size"]
        return cls(experiment=name, sites=1, steps=4, batch=run.trainer.batch, size=size, device=DEVICE.type)

    @property
    def architecture(self) -> Network:
        return experiment(self.experiment).network


NARROW = Job(network="personalised", sites=1, steps=4, device=DEVICE.type)
MID = replace(
    NARROW, width=32, blocks=9, size=128, batch=1, steps=2, discriminator_width=32, discriminator_layers=3, latent=256
)
FULL = replace(MID, width=64, size=256, steps=1, discriminator_width=64, latent=512)  # the paper's
JOBS = {
    "demo": Configured.of("demo"),
    "reference": Configured.of("reference"),
    "narrow": NARROW,
    "mid": MID,
    "full": FULL,
}
WAYS = {
    "fp32": (Precision.fp32, Execution.auto),
    "fp32-compiled": (Precision.fp32, Execution.compiled),
    "bf16-compiled": (Precision.bf16, Execution.compiled),
    "tf32": (Precision.tf32, Execution.auto),
    "bf16": (Precision.bf16, Execution.auto),
}
ON = {"cpu": list(WAYS)[: 3 if has_bf16(DEVICE) else 2], "cuda": ["fp32", "tf32", "bf16"]}


def ours(job: Job, precision: Precision, execution: Execution) -> Callable[[], None]:
    options = replace(job.options, precision=precision, execution=execution, flip=False, zoom=1.0)
    trainer = Trainer(Method(), job.architecture, job.federation, options, seed=0)
    [site] = trainer.sites.values()
    site.enter(1)

    def steps() -> None:
        for _ in site.train({}):
            pass

    for _ in range(8):  # until every task's step was compiled or captured, where it can be
        steps()
    assert not trainer.step.eager, f"steps that were to be compiled or captured ran {trainer.step.ran}"
    return steps


def bare(
    job: Job, precision: Precision, memory: torch.memory_format = torch.contiguous_format, fused: bool = False
) -> Callable[[], None]:
    [name] = job.names
    bench = Bench(job, name, job.nets(name)["generator"].to(memory_format=memory))
    for move in bench.moves.values() if fused else ():
        move.param_groups[0].update(fused=True)
    feed, order = bench.feed, torch.randint(12, (job.steps, job.batch), device=DEVICE)
    channels, codes = [[feed.channels[c] for c in task.contrasts] for task in feed.tasks], list(feed.codes.values())
    total = torch.zeros((), device=DEVICE)

    def steps() -> None:
        for k in range(job.steps):
            task = k % 2
            images = feed.images[order[k]].float()
            source, target = (images[:, channel, None].to(memory_format=memory) for channel in channels[task])
            code = codes[task].expand(job.batch, -1)
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision is Precision.bf16):
                total.add_(bench.step(str(feed.tasks[task]), source, target, code))

    return steps


def released(job: Job) -> Callable[[], None]:
    model = Model(job, job.names[0])
    data = {half: torch.rand(job.batch, 3, job.size, job.size) * 2 - 1 for half in "AB"}

    def steps() -> None:
        for _ in range(job.steps):
            model.set_input(data)
            model.optimize_parameters()

    return steps


@pytest.mark.filterwarnings("ignore")  # torch warns of its own old parts, and a step whose compiling fails runs eagerly
@pytest.mark.parametrize("way", ON[DEVICE.type])
@pytest.mark.parametrize("size", JOBS)
def test_local_steps(benchmark: BenchmarkFixture, size: str, way: str) -> None:
    job, (precision, execution) = JOBS[size], WAYS[way]
    rivals = {
        "bare step b1": bare(job, Precision.fp32),
        "b1 with fused Adam": bare(job, Precision.fp32, fused=True),
        "the released code's step": released(job),
    }
    if DEVICE.type == "cuda":
        rivals |= {
            "bare step b2 (bf16)": bare(job, Precision.bf16),
            "bare step b3 (channels last)": bare(job, Precision.bf16, torch.channels_last),
        }
    flops = operations(bare(job, Precision.fp32)) // job.steps
    spent = in_turns(benchmark, ours(job, precision, execution), rivals)
    nets = job.nets(job.names[0])
    moving = sum(
        p.numel() for net in (nets["generator"], next(iter(nets["discriminators"].values()))) for p in net.parameters()
    )
    found = floor(flops, moving, DEVICE, precision)
    benchmark.extra_info |= {name: round(value, 6) for name, value in found.items()}
    benchmark.extra_info["share of the floor"] = round(found["floor seconds"] * job.steps / min(spent["ours"]), 3)


def test_the_released_codes_loader(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Seconds a slice of loading as the released code does, in one process, of 256x256 pixels."""
    write(FULL.federation.sites[FULL.names[0]], tmp_path, 12)
    loader = Aligned(tmp_path, FULL.size)
    benchmark.pedantic(lambda: [loader[k] for k in range(12)], rounds=5)
    benchmark.extra_info["seconds a slice"] = round(seconds(lambda: [loader[k] for k in range(12)]) / 12, 5)
