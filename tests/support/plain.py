"""The loop that everyone writes, as an oracle for methods: one site's GAN training in plain torch, and means in numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from fedsynth.federation import Task
from fedsynth.feed import Batch
from fedsynth.runtime.options import TrainerOptions
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer


def judge_loss(judge: nn.Module, batch: Batch, fake: Tensor) -> Tensor:
    """Half of LSGAN's squared errors: 1 for the true target, 0 for the synthetic one."""
    real, made = judge(batch.source, batch.target), judge(batch.source, fake.detach())
    return (((real - 1) ** 2).mean() + (made**2).mean()) / 2


def generator_loss(judge: nn.Module, batch: Batch, fake: Tensor) -> Tensor:
    return ((judge(batch.source, fake) - 1) ** 2).mean() + 100 * (fake - batch.target).abs().mean()


def squares_to_one(scores: Tensor) -> Tensor:
    return ((scores - 1) ** 2).mean()


def mean_distance(image: Tensor, other: Tensor) -> Tensor:
    return (image - other).abs().mean()


def reversed_code(of: Trainer, batch: Batch) -> Tensor:
    """The code of the opposite task at the batch's site."""
    code = torch.from_numpy(of.federation.code(batch.site, Task(batch.task.target, batch.task.source)))
    return code.to(batch.code.dtype).expand_as(batch.code)


def in_float64(batch: Batch) -> Batch:
    kept = {name: getattr(batch, name).double() for name in ("images", "present", "source", "target", "code")}
    return replace(batch, **kept, second=None if batch.second is None else in_float64(batch.second))


class PlainSite:
    """Copies of a site's nets, with an Adam for each of the generator's parts and for each discriminator.

    Take it before the trainer moves. Dropout must be 0: its noise is the trainer's.
    """

    def __init__(
        self,
        site: SiteState,
        options: TrainerOptions,
        parts: Callable[[nn.Module], Mapping[str, Iterable[nn.Parameter]]] = lambda net: {"": net.parameters()},
    ) -> None:
        nets = deepcopy(site.nets)
        self.generator, self.judges = nets["generator"], nets["discriminators"]
        self.options, self.feed, self.samples = options, site.feeds[site.name], site.samples
        groups = dict(parts(self.generator)) | {str(task): self.judges[str(task)].parameters() for task in site.tasks}
        betas = (0.5, 0.999)
        self.adams = {name: torch.optim.Adam(group, options.lr, betas, fused=True) for name, group in groups.items()}

    def train(self, round: int, moving: Sequence[str] | None = None) -> None:
        """Do the local steps of a round; `moving` names the part of the generator that moves in each step, if it has parts."""
        for adam in self.adams.values():
            adam.param_groups[0]["lr"] = self.options.lr * self.options.rate(round)
        self.generator.train()
        for k, draw in enumerate(self.feed.train(round)):
            batch = draw.make()
            judge = self.judges[str(batch.task)]
            fake = self.generator(batch.source, batch.code)
            self.move(str(batch.task), judge_loss(judge, batch, fake))
            self.move(moving[k] if moving else "", generator_loss(judge, batch, fake))

    def move(self, name: str, loss: Tensor) -> None:
        self.generator.zero_grad()
        self.judges.zero_grad()
        loss.backward()
        self.adams[name].step()


def flat(net: nn.Module) -> Tensor:
    """All parameters of a net in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def write_flat(net: nn.Module, vector: Tensor) -> None:
    """Put such a vector into a net."""
    nn.utils.vector_to_parameters(vector.clone(), net.parameters())


def gradient(net: nn.Module, loss: Tensor) -> Tensor:
    """The gradient of a loss by all parameters of a net, as such a vector."""
    return torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, list(net.parameters()))])


def mean(nets: Sequence[nn.Module], weights: Sequence[float], names: Iterable[str]) -> dict[str, np.ndarray]:
    """The weighted means of named parameters over nets."""
    rows = [{name: p.detach().double().numpy() for name, p in net.named_parameters()} for net in nets]
    return {name: np.average([row[name] for row in rows], axis=0, weights=weights) for name in names}


def write(nets: Iterable[nn.Module], values: Mapping[str, np.ndarray]) -> None:
    """Put the named values into every net."""
    with torch.no_grad():
        for net in nets:
            named = dict(net.named_parameters())
            for name, value in values.items():
                named[name].copy_(torch.from_numpy(value))
