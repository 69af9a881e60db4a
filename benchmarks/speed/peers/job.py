"""The one job that every engine of the comparison does: sites, nets, batches and the local step.

FedAvg on a residual network: the generator travels, each site keeps one discriminator a task and the state of its
optimisers; LSGAN + 100 L1, Adam. Weights, sites and batches are those of `fedsynth.trainer.Trainer`, and there is neither
dropout nor augmentation, so that the engines' losses can be compared round by round.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedsynth.federation import Federation, Site, Subject, Task
from fedsynth.feed import Batch, Feed
from fedsynth.method import Blueprint, Method
from fedsynth.networks.network import Network
from fedsynth.registry import NETWORKS
from fedsynth.runtime.options import TrainerOptions

TASKS = (
    ("T1->T2", "T2->PD"),
    ("T1->T2", "T2->T1"),
    ("T1->T2", "PD->T2"),
    ("T1->T2", "T1->PD"),
)  # site k has TASKS[k % 4]
TRAINING_SLICES = 12  # of every site, so that weighted and plain means are one
ROUNDS = 1_000_000  # more than anyone asks for: the learning rate stays at its start, and nothing is validated


@dataclass(frozen=True)
class Job:
    """The defaults are the small step of `make demo`, at 64x64 pixels."""

    network: str = "resnet"
    width: int = 8
    blocks: int = 3
    size: int = 64  # pixels a side
    sites: int = 4
    steps: int = 8  # local steps a round and site
    batch: int = 4
    discriminator_width: int = 16
    discriminator_layers: int = 2
    latent: int = 64  # of a network that reads the code
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"--{field.name.replace('_', '-')} is {value}; it must be at least 1")
        if self.size % 8:
            raise ValueError(f"--size is {self.size}; it must be a multiple of 8 pixels")

    @classmethod
    def parser(cls, text: str | None) -> argparse.ArgumentParser:
        """A command line with an option for every field; `text` says what the program does."""
        parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        for field in fields(cls):
            name = "--" + field.name.replace("_", "-")
            parser.add_argument(name, type=type(field.default), default=field.default, help="default: %(default)s")
        return parser

    @classmethod
    def chosen(cls, arguments: argparse.Namespace) -> Job:
        """The job that a parsed command line asks for. ValueError names an option that cannot be."""
        return cls(**{field.name: getattr(arguments, field.name) for field in fields(cls)})

    def arguments(self) -> list[str]:
        """The command line that asks for this job."""
        return [f"--{name.replace('_', '-')}={value}" for name, value in asdict(self).items()]

    @property
    def names(self) -> list[str]:
        return [f"s{k}" for k in range(self.sites)]

    @property
    def architecture(self) -> Network:
        made: Network = NETWORKS[self.network](
            width=self.width,
            blocks=self.blocks,
            dropout=0.0,
            discriminator_width=self.discriminator_width,
            discriminator_layers=self.discriminator_layers,
            latent=self.latent,
        )
        return made

    @property
    def options(self) -> TrainerOptions:
        return TrainerOptions(
            rounds=ROUNDS,
            local_steps=self.steps,
            batch=self.batch,
            flip=False,
            zoom=1.0,
            validate_every=ROUNDS,
            checkpoint_every=ROUNDS,
            threads=self.threads,
            device=self.device,
        )

    @cached_property
    def federation(self) -> Federation:
        """Sites of random smooth tissue with T1, T2 and PD, each subject two slices."""
        sites, tasks = {}, {}
        for k, name in enumerate(self.names):
            slices = TRAINING_SLICES + 4
            coarse = np.random.default_rng(k).random((slices, 1, self.size // 8, self.size // 8))
            tissue = np.kron(coarse, np.ones((8, 8)))
            images = np.concatenate([tissue, 1 - tissue, tissue ** (0.5 + 0.1 * k)], 1) * 2 - 1
            splits = ["train"] * (TRAINING_SLICES // 2) + ["val", "test"]
            subjects = tuple(Subject(f"{name}-{i}", split, slice(2 * i, 2 * i + 2)) for i, split in enumerate(splits))
            sites[name] = Site(name, ("T1", "T2", "PD"), images.astype(np.float16), tissue[:, 0] > 0.1, subjects)
            tasks[name] = tuple(map(Task.parse, TASKS[k % len(TASKS)]))
        return Federation(sites, tasks)

    def nets(self, name: str) -> nn.ModuleDict:
        """A site's generator and its discriminators, with the weights that every site and engine starts from."""
        columns = self.federation.columns
        return (
            Method().build(Blueprint(self.architecture, columns, self.federation.tasks[name], seed=0)).to(self.device)
        )

    def feed(self, name: str) -> Feed:
        return Feed(self.federation, name, self.options, 0, torch.device(self.device))


class Bench:
    """A site's own part: its batches, its discriminators, and the optimisers of a generator that it is given."""

    def __init__(self, job: Job, name: str, generator: nn.Module) -> None:
        self.feed, self.generator = job.feed(name), generator
        self.judges: Any = job.nets(name)["discriminators"]  # a ModuleDict, by task
        self.moves = {task: adam(judge) for task, judge in self.judges.items()} | {"generator": adam(generator)}

    def batches(self, round: int) -> list[Batch]:
        """The batches that ours has in this round (from 1)."""
        return [draw.make() for draw in self.feed.train(round)]

    def step(self, task: str, source: Tensor, target: Tensor, code: Tensor) -> Tensor:
        """Move the task's discriminator, then the generator; the generator's loss, a scalar on the device."""
        judge, judge_move, move = self.judges[task], self.moves[task], self.moves["generator"]
        fake = self.generator(source, code)
        real_score, fake_score = judge(source, target), judge(source, fake.detach())
        judge_loss = (F.mse_loss(real_score, torch.ones_like(real_score)) + fake_score.square().mean()) / 2
        judge_move.zero_grad()
        judge_loss.backward()
        judge_move.step()
        score = judge(source, fake)
        loss = F.mse_loss(score, torch.ones_like(score)) + 100 * F.l1_loss(fake, target)
        move.zero_grad()
        loss.backward(inputs=list(self.generator.parameters()))
        move.step()
        return loss.detach()


def adam(net: nn.Module) -> torch.optim.Adam:
    """The optimiser of every net of every engine."""
    return torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999))


def stacked(batches: list[Batch]) -> tuple[list[str], tuple[Tensor, Tensor, Tensor]]:
    """The batches' tasks, and their slices as one data set: sources, targets and codes end to end."""
    tensors = (torch.cat([getattr(batch, part) for batch in batches]) for part in ("source", "target", "code"))
    source, target, code = tensors
    return [str(batch.task) for batch in batches], (source, target, code)


def mean(losses: Iterator[Tensor] | list[Tensor]) -> float:
    """The mean of losses on the device, which this waits for."""
    return float(torch.stack(list(losses)).mean())
