"""FedMM trains one generator for every subset of contrasts (MM-GAN: Sharma and Hamarneh, IEEE TMI 2020).

Paper: https://arxiv.org/abs/1904.12200
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fedsynth.exchange import ContractError
from fedsynth.feed import Batch
from fedsynth.method import Blueprint, Nets
from fedsynth.networks.blocks import Noisy
from fedsynth.networks.mmgan_unet import JointPatchGAN
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg

JUDGE = "discriminators_joint"
STAGES = ("1", "2", "3", "")  # the most contrasts that may be missing; "" for any number
SIXTHS = 6  # each stage but the last takes a sixth of the run: 10 of 60 epochs in the released script


@dataclass
class FedMM(FedAvg):
    """FedAvg of MM-GAN's generator; discriminators stay. In each step some of the site's contrasts are given, the others are
    missing, and the generator makes them all. x are the true contrasts; x' is x where given and synthetic where missing
    (implicit conditioning). With means over the site's contrasts c:

        D:          [(D_c(x, x) - 1)^2 + (D_c(x, x') - [c is given])^2] / 2
        generator:  (D_c(x, x') - 1)^2 + 100 |x' - x|, the latter over the missing contrasts alone

    D scores each contrast. Curriculum: one contrast is missing in the first sixth of the run, up to two in the second, up to
    three in the third, and any number afterwards. Each subset that fits is drawn with the same probability. To serve, the
    generator is given the task's source alone, as under every method.

    `curriculum`: if it is off, any number may be missing from the start, as in the released option 2.

    What differs from the paper: the task's source is always given and its target always missing, so that tasks take turns as
    under every method; the other contrasts are drawn. Only the site's contrasts are given, made and judged; all others are
    background. The paper has one site, and is not federated.

    What differs from the released code: the same. Its stage 2 has three of the six subsets with two contrasts missing, and its
    stage 3 one of the four with three missing; here a stage has all. It sets the weight of L1 to 100, as pix2pix, and then
    weighs GAN and L1 by 0.1 and 0.9. The generator moves first there.
    """

    published: ClassVar[str] = "mmgan_unet"
    curriculum: bool = True  # whether few contrasts are missing at first, and more later

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        generator = blueprint.generator()
        if not hasattr(generator, "translate"):
            raise ContractError(
                f"method FedMM gives its generator many contrasts; {type(generator).__name__} takes one: set "
                f"network={self.published}"
            )
        judge = JointPatchGAN(blueprint.network, blueprint.columns.contrasts)
        return nn.ModuleDict({"generator": generator, JUDGE: judge, "scenario": GivenContrasts()})

    def phase(self, site: SiteState, k: int) -> str:
        passed = SIXTHS * (site.round - 1) // site.rounds if self.curriculum else len(STAGES)
        return STAGES[min(passed, len(STAGES) - 1)]

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        yield from self.objective(site.nets, batch, site.phase)

    def objective(self, nets: Nets, batch: Batch, most: str = "") -> Pairs:
        """The losses, with at most `most` contrasts missing."""
        images, present = batch.images, batch.present
        given = nets["scenario"](batch, int(most or len(present)))
        missing = present - given
        made = nets["generator"].translate(images, given, batch.code)
        shown = torch.where(missing[:, None, None] > 0, made, images)
        losses = [self.l1 * over(missing, (shown - images).abs())]
        if self.adversarial:
            judge = nets[JUDGE]
            true = over(present, (judge(images, images) - 1).square())
            judged = over(present, (judge(images, shown.detach()) - given[:, None, None]).square())
            yield JUDGE, self.adversarial * (true + judged) / 2
            losses.append(self.adversarial * over(present, (judge(images, shown) - 1).square()))
        yield "generator", torch.stack(losses).sum()


def over(contrasts: Tensor, values: Tensor) -> Tensor:
    """The mean of values `[B, C, H, W]` over the contrasts that are 1 in `[C]`."""
    return (values.mean((0, 2, 3)) * contrasts).sum() / contrasts.sum()


class GivenContrasts(Noisy):
    """Draws which contrasts are given."""

    def forward(self, batch: Batch, most: int) -> Tensor:
        """1 for each given contrast: the source, not the target, any others of the site's, so that at most `most` are missing."""
        contrasts = torch.arange(len(batch.present), device=batch.present.device)
        source, target = batch.code[0, -2 * len(contrasts) :].chunk(2)
        subsets = torch.arange(2 ** len(contrasts), device=contrasts.device)[:, None] >> contrasts & 1
        fits = ((source <= subsets) & (subsets <= batch.present - target)).all(1)
        fits &= (batch.present - subsets).sum(1) <= most
        luck = torch.rand(len(subsets), device=contrasts.device, generator=self.generator)
        return subsets.index_select(0, (luck + fits).argmax()[None])[0].to(batch.present.dtype)
