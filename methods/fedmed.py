"""FedMed-GAN averages CycleGAN's generators, not its discriminators (Wang et al., Neurocomputing 2023).

Paper: https://arxiv.org/abs/2201.08953
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fedsynth.exchange import Place
from fedsynth.feed import Batch
from fedsynth.losses import l1
from fedsynth.method import Blueprint, Nets
from fedsynth.networks.blocks import Noisy
from fedsynth.step import Player

from .fedcycle import FedCycle, swap

REVERSE = "generator_back"  # makes the source from a target
CLIP = 1.0  # the largest norm of a slice's gradient, times the batch size; this and the next two as released
NOISE = 1.07  # multiplier
SENSITIVITY = 2.0


@dataclass
class FedMed(FedCycle):
    """FedCycle's losses with a second generator, which has its own initial weights, for the way back. Both generators travel and
    discriminators stay. Only the forward generator is served.

    `losses`: `unpaired` is the paper's, see FedCycle. `cycle`: 10, as in the released configuration. `identity`: 10, as there;
    in that code the identity loss asks each generator to leave its own output unchanged: |G(G(x)) - G(x)|.

    `privacy`: whether the gradients that a discriminator passes to a generator are sanitised, as in GS-WGAN (Chen et al. 2020):
    each slice's gradient is clipped to the norm 1 / batch, and Gaussian noise of standard deviation 1.07 x 2 / batch is added
    to each pixel. It is off, so that the method is compared without a handicap that the others do not have.

    What differs from the paper: `losses=both` is not unpaired, and `privacy` is off. The server weighs by training slices.

    What differs from the released code: its federated configuration has the privacy on. There the hook takes effect after the
    generators' backward pass, in the discriminators' own, where their input has no gradient: the hook fails on the torch that
    this suite needs, and no generator's gradient is sanitised. Its weights are fixed: 0.4, 0.3, 0.2, 0.1; its alternative,
    which takes the site with the best PSNR, is left out. Discriminators move before generators, and they judge patches, not
    the patches' mean. Its generator is a U-Net of five strided halvings; `unet` is the one that pFLSynth's comparison gives it.
    """

    published: ClassVar[str] = "unet"
    generators: ClassVar[Player] = ("generator", REVERSE)
    identity: float = 10.0  # weight of the identity loss
    privacy: bool = False  # whether the gradients that generators get are clipped and noisy

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        nets = super().build(blueprint)
        with blueprint.weights(REVERSE):
            nets[REVERSE] = blueprint.network.generator(blueprint.columns)
        if self.privacy:
            nets["sanitiser"] = Sanitiser()
        return nets

    def travels(self, place: Place) -> bool:
        return place.net in ("generator", REVERSE)

    def translators(self, nets: Nets, batch: Batch) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        there, back, swapped = nets["generator"], nets[REVERSE], swap(batch)
        return lambda image: there(image, batch.code), lambda image: back(image, swapped)

    def score(self, nets: Nets, judge: nn.Module, image: Tensor) -> Tensor:
        return super().score(nets, judge, nets["sanitiser"](image) if self.privacy else image)

    def unchanged(
        self,
        there: Callable[[Tensor], Tensor],
        back: Callable[[Tensor], Tensor],
        x: tuple[Tensor, Tensor],
        y: tuple[Tensor, Tensor],
    ) -> Tensor:
        return l1(there(y[1]), y[1]) + l1(back(x[1]), x[1])


class Sanitiser(Noisy):
    """Returns an image unchanged; clips the gradient that comes back and adds noise to it."""

    def forward(self, image: Tensor) -> Tensor:
        if not (self.training and image.requires_grad):
            return image
        passed, bound = image.view_as(image), CLIP / len(image)
        noise = torch.empty_like(image).normal_(0, bound * NOISE * SENSITIVITY, generator=self.generator)

        def sanitise(gradient: Tensor) -> Tensor:
            norms = gradient.flatten(1).norm(dim=1)[:, None, None, None]
            return gradient * (bound / (norms + 1e-10)).clamp(max=1) + noise

        passed.register_hook(sanitise)
        return passed
