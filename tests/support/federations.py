"""Small federations of smooth random images for tests: made in milliseconds, learnable, different at every site.

And what tests of losses do with their batches: the code of the opposite task, float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from fedsynth.federation import Columns, Federation, Site, Subject, Task
from fedsynth.feed import Batch
from fedsynth.method import Method
from fedsynth.networks.network import Generator, Network, Role, Stage
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet
from fedsynth.runtime.options import TrainerOptions
from fedsynth.trainer import Trainer
from fedsynth.trainer.trainer import Progress, silent

TASKS = {
    "brats": ("T1->T2", "FLAIR->T2"),
    "ixi": ("T1->T2", "T2->PD"),
    "midas": ("T1->T2", "T2->T1"),
    "oasis": ("T1->T2", "T2->FLAIR"),
}
CONTRASTS = ("T1", "T2", "PD", "FLAIR")


def site(
    name: str, *, train: int = 3, val: int = 1, test: int = 2, slices: int = 2, size: Sequence[int] = (16, 16)
) -> Site:
    """A site whose contrasts are smooth functions, its own ones, of one random anatomy; streams are named by site and subject."""
    gamma = 0.6 + 0.2 * (sum(map(ord, name)) % 5)
    images, subjects, row = [], [], 0
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    for number, split in enumerate(splits):
        stream = np.random.default_rng([sum(map(ord, name)), number])
        for _ in range(slices):
            anatomy = gaussian_filter(stream.normal(size=size), 2)
            tissue = (anatomy - anatomy.min()) / np.ptp(anatomy)
            images.append([tissue**gamma, 1 - tissue, np.sqrt(tissue), np.abs(2 * tissue - 1)])
        subjects.append(Subject(f"{name}-{number}", split, slice(row, row + slices)))
        row += slices
    stack = (np.array(images) * 2 - 1).astype(np.float16)
    return Site(name, CONTRASTS, stack, stack[:, 0] > -0.8, tuple(subjects))


def federation(
    names: Sequence[str] = tuple(TASKS), tasks: Mapping[str, Sequence[str]] = TASKS, **shape: object
) -> Federation:
    """The paper's four sites with their variable tasks, or some of them."""
    plan = {name: tuple(Task.parse(text) for text in tasks[name]) for name in names}
    return Federation({name: site(name, **shape) for name in names}, plan)


def uneven(sizes: Mapping[str, int]) -> Federation:
    """The paper's sites with as many training subjects as `sizes` says, so that their weights differ."""
    parts = {name: federation((name,), train=subjects) for name, subjects in sizes.items()}
    sites = {name: part.sites[name] for name, part in parts.items()}
    return Federation(sites, {name: part.tasks[name] for name, part in parts.items()})


def resnet(**options: object) -> ResNet:
    return ResNet(**({"width": 4, "blocks": 3, "discriminator_width": 4, "discriminator_layers": 1} | options))


def personalised(**options: object) -> Personalised:
    small = {"width": 4, "blocks": 3, "latent": 8, "discriminator_width": 4, "discriminator_layers": 1}
    return Personalised(**(small | options))


class PlainGenerator(Generator):
    """One convolution and no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(1, 1, 1)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        return self.only(source)

    def stages(self) -> list[Stage]:
        return [Stage(Role.encoder, self.only)]


@dataclass
class PlainNetwork(Network):
    def generator(self, columns: Columns) -> Generator:
        return PlainGenerator()


def options(**given: object) -> TrainerOptions:
    quick = {"rounds": 2, "local_steps": 3, "batch": 2, "lr": 1e-3, "zoom": 1.0, "device": "cpu"}
    return TrainerOptions(**(quick | given))


def trainer(
    method: Method,
    network: Network | None = None,
    sites: Federation | Sequence[str] = tuple(TASKS),
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress = silent,
    **given: object,
) -> Trainer:
    """A trainer of the method on the small residual network and on the paper's sites, unless others are given; the other
    keywords are options of `options`."""
    of = sites if isinstance(sites, Federation) else federation(sites)
    return Trainer(method, network or resnet(), of, options(**given), seed, folder, progress)


def squares_to_one(scores: Tensor) -> Tensor:
    return ((scores - 1) ** 2).mean()


def reversed_code(of: Trainer, batch: Batch) -> Tensor:
    """The code of the opposite task at the batch's site."""
    code = torch.from_numpy(of.federation.code(batch.site, Task(batch.task.target, batch.task.source)))
    return code.to(batch.code.dtype).expand_as(batch.code)


def in_float64(batch: Batch) -> Batch:
    kept = {name: getattr(batch, name).double() for name in ("images", "present", "source", "target", "code")}
    return replace(batch, **kept, second=None if batch.second is None else in_float64(batch.second))
