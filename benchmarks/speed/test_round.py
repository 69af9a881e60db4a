"""A whole round of four sites, its aggregation, and its evaluation, each against what it cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fedsynth.benchmarks.speed.peers.job import Bench, Job
from fedsynth.benchmarks.speed.test_step import DEVICE, FULL, NARROW
from fedsynth.benchmarks.speed.turns import in_turns
from fedsynth.evaluation import evaluate
from fedsynth.exchange import Message
from fedsynth.method import Method
from fedsynth.trainer import Trainer

FOUR = Job(network="personalised", device=DEVICE.type)


def trainer(job: Job) -> Trainer:
    return Trainer(Method(), job.architecture, job.federation, job.options, seed=0)


def test_round(benchmark: BenchmarkFixture) -> None:
    """Download, eight local steps at each site, upload, aggregation; bare: copies, bare steps and a mean of state dicts."""
    ours, rounds = trainer(FOUR), iter(range(1, 1_000_000))
    generators = [FOUR.nets(name)["generator"] for name in FOUR.names]
    benches = [Bench(FOUR, name, generator) for name, generator in zip(FOUR.names, generators, strict=True)]
    server, turn = deepcopy(generators[0].state_dict()), iter(range(1, 1_000_000))

    def bare() -> None:
        round = next(turn)
        for bench in benches:
            bench.generator.load_state_dict(server)
            for batch in bench.batches(round):
                bench.step(str(batch.task), batch.source, batch.target, batch.code)
        states = [generator.state_dict() for generator in generators]
        for name in server:
            server[name] = sum(state[name] for state in states) / len(states)

    in_turns(benchmark, lambda: ours.round(next(rounds)), {"bare round": bare})


@pytest.mark.parametrize("sites", [4, 16])
def test_aggregation(benchmark: BenchmarkFixture, sites: int) -> None:
    """The weighted mean of full-size generators, summed in float64, against the usual loop over state dicts in float32."""
    of = trainer(FULL)
    numel, held = of.plan.model.numel, next(iter(of.sites.values())).held
    uploads = {str(k): Message(model=torch.randn(numel, device=DEVICE), weight=k + 1) for k in range(sites)}
    of.server.held = dict.fromkeys(uploads, held)
    layout = of.plan.model
    states = [{path: layout.part(upload.model, path).clone() for path in layout.offsets} for upload in uploads.values()]
    total = sum(range(1, sites + 1))

    def loop() -> None:
        merged = {name: torch.zeros_like(tensor) for name, tensor in states[0].items()}
        for k, state in enumerate(states):
            for name, tensor in state.items():
                merged[name] += tensor * ((k + 1) / total)

    in_turns(benchmark, partial(of.server.mean, uploads, "model"), {"a loop over state dicts": loop})


@pytest.mark.parametrize("size", ["narrow", "full"])
def test_evaluation(benchmark: BenchmarkFixture, size: str) -> None:
    """PSNR, SSIM, NMSE and MAE of every subject against the forward passes alone, and against scikit-image slice by slice."""
    job = {"narrow": NARROW, "full": FULL}[size]
    of = trainer(job)
    [site] = of.sites.values()
    feed, task = site.feeds[job.names[0]], site.tasks[0]
    site.nets.eval()
    split = "train"  # its twelve slices
    forward: Callable[[], list[torch.Tensor]] = torch.no_grad()(
        lambda: [of.method.synthesise(site, part.batch) for part in feed.score(task, split)]
    )

    def slice_by_slice() -> None:
        images = torch.cat(forward()).cpu().numpy()[:, 0]
        targets = np.concatenate([part.batch.target.cpu().numpy()[:, 0] for part in feed.score(task, split)])
        for image, target in zip((images + 1) / 2, (targets + 1) / 2, strict=True):
            peak_signal_noise_ratio(target, image, data_range=1.0)
            structural_similarity(target, image, data_range=1.0)

    def ours() -> None:
        evaluate.by_subject(feed, task, split, lambda batch: of.method.synthesise(site, batch))

    rivals = {"forward passes alone": forward, "scikit-image, slice by slice": slice_by_slice}
    in_turns(benchmark, ours, rivals, repeats=30 if size == "narrow" else 5)
