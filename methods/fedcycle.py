"""FedCycle learns one switchable generator from unpaired images (Song and Ye, arXiv 2106.09246, 2021).

Paper: https://arxiv.org/abs/2106.09246
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor, nn

from fedsynth.exchange import ContractError, Place
from fedsynth.feed import Batch
from fedsynth.losses import l1, lsgan
from fedsynth.method import Blueprint, Nets
from fedsynth.step import Pairs, Player

from .fedavg import FedAvg

BACK = "discriminators_back"  # of the source contrast, by task


class Losses(Enum):
    """Whether the generator knows which source and target belong together."""

    unpaired = "unpaired"  # LSGAN and cycle
    paired = "paired"  # LSGAN and L1
    both = "both"


@dataclass
class FedCycle(FedAvg):
    """CycleGAN with one generator whose code tells it the direction: G makes the target of a source; F, which is G with source
    and target swapped in the code, makes the source of a target. For sources x and targets y of other slices, in both directions:

        (D_y(G(x)) - 1)^2 + cycle |F(G(x)) - x| + identity |G(y) - y|

    Discriminators learn to tell y from G(x), and x from F(y), as under every method. Generator and discriminators travel, the
    latter averaged over the sites that have the task.

    `losses`: `unpaired` is the paper's. `both`, the default, adds 100 L1 between each synthetic image and the true one of the
    same slice, the supervision that all other methods have. `paired` has it in place of cycle and identity, as in pFLSynth's
    comparison (there in one direction). `cycle`: 10, as in CycleGAN. `identity`: 0; CycleGAN has 5 in some experiments.

    On a network that does not read the task both directions are the same map.

    What differs from the paper: its sites hold one contrast each, and each computes its part of the loss; here a site has both
    contrasts and the whole loss. Its discriminator is switchable too; here there is one for each task and direction. They judge
    the image alone, which they get in place of the source as well. The paper has no paired term: `losses=both` is ours.

    What differs from the released code: the authors' is not known. pFLSynth's of this name has neither a cycle loss nor
    unpaired images (`losses=paired`, in one direction), and its discriminators judge the pair.
    """

    published: ClassVar[str] = "switchable_unet"
    second: ClassVar[bool] = True
    generators: ClassVar[Player] = "generator"
    losses: Losses = Losses.both  # what the generator learns by
    cycle: float = 10.0  # weight of the cycle loss
    identity: float = 0.0  # weight of the identity loss

    def __post_init__(self) -> None:
        for option in ("cycle", "identity"):
            if (value := getattr(self, option)) < 0:
                raise ValueError(f"method.{option} is {value}; it must be at least 0")

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        if several := [task for task in blueprint.tasks if len(task.sources) > 1]:
            raise ContractError(
                f"method {type(self).__name__} translates a target back to its one source; task {several[0]} has "
                f"{len(several[0].sources)}: choose a scenario whose tasks have one, or another method"
            )
        return nn.ModuleDict({**super().build(blueprint), BACK: blueprint.discriminators(self.judge)})

    def travels(self, place: Place) -> bool:
        return True

    def translators(self, nets: Nets, batch: Batch) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """From source to target, and from target to source."""
        net, swapped = nets["generator"], swap(batch)
        return lambda image: net(image, batch.code), lambda image: net(image, swapped)

    def score(self, nets: Nets, judge: nn.Module, image: Tensor) -> Tensor:
        """What a discriminator says of an image."""
        scores: Tensor = judge(image, image)
        return scores

    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        assert batch.second is not None
        there, back = self.translators(nets, batch)
        x, y, name = batch.source, batch.second.target, self.judge(batch.task)
        fake_x, fake_y = back(y), there(x)
        judged = [(nets["discriminators"][name], y, fake_y), (nets[BACK][name], x, fake_x)]
        losses = []
        if self.adversarial:
            errors = [
                lsgan(self.score(nets, judge, real), True) + lsgan(self.score(nets, judge, fake.detach()), False)
                for judge, real, fake in judged
            ]
            yield (f"discriminators.{name}", f"{BACK}.{name}"), self.adversarial * torch.stack(errors).sum() / 2
            fooled = [lsgan(self.score(nets, judge, fake), True) for judge, _, fake in judged]
            losses.append(self.adversarial * torch.stack(fooled).sum())
        if self.losses is not Losses.paired:
            losses.append(self.cycle * (l1(back(fake_y), x) + l1(there(fake_x), y)))
            if self.identity:
                losses.append(self.identity * self.unchanged(there, back, (x, fake_x), (y, fake_y)))
        if self.losses is not Losses.unpaired:
            losses.append(self.l1 * (l1(fake_y, batch.target) + l1(fake_x, batch.second.source)))
        yield self.generators, torch.stack(losses).sum()

    def unchanged(
        self,
        there: Callable[[Tensor], Tensor],
        back: Callable[[Tensor], Tensor],
        x: tuple[Tensor, Tensor],
        y: tuple[Tensor, Tensor],
    ) -> Tensor:
        """The identity loss; of each contrast the true image and the synthetic one."""
        return l1(there(y[0]), y[0]) + l1(back(x[0]), x[0])


def swap(batch: Batch) -> Tensor:
    """The code of the other direction."""
    contrasts = batch.images.shape[1]
    site, source, target = batch.code.split([batch.code.shape[1] - 2 * contrasts, contrasts, contrasts], 1)
    return torch.cat([site, target, source], 1)
