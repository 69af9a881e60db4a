"""MOON keeps a site's features like the received model's by contrast (Li, He and Song, CVPR 2021).

Paper: https://arxiv.org/abs/2103.16257
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedsynth.exchange import ContractError, Message
from fedsynth.feed import Batch
from fedsynth.method import Blueprint, Method
from fedsynth.networks.network import Generator, Role
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class MOON(FedAvg):
    """The generator's loss has mu times a contrast of features added: on the same slices its z should be like the received
    model's and unlike that of the model that the site uploaded last,

        -log( exp(cos(z, z_received) / tau) / (exp(cos(z, z_received) / tau) + exp(cos(z, z_previous) / tau)) )

    `mu`: 100. The released code's default is 1 beside a cross entropy of weight 1 (the paper chose from 0.1, 1, 5, 10); 100 L1
    needs 100 times as much. The ratio of gradients is 0.5; with 1 it would be 0.004. `tau`: 0.5. Both other models are frozen
    and in eval mode, as there; the previous model of a site that has not uploaded yet is the common start. This takes two more
    forward passes a step, without gradients.

    What differs from the paper: z is the output of the last bottleneck stage, rectified and averaged over the pixels, as the
    classifiers' pooled features; without the rectifier a map that ends in instance norm would average to its bias for every
    image. The paper projects features by a layer before the classifier. A generator has no such layer, and one beside the
    image's path would be trained by the contrast alone.

    What differs from the released code: the same; its means are weighted by samples, as here.
    """

    mu: float = 100.0  # weight of the contrast
    tau: float = 0.5  # its temperature

    def __post_init__(self) -> None:
        if self.mu < 0:
            raise ValueError(f"method.mu is {self.mu}; it must be at least 0")
        if self.tau <= 0:
            raise ValueError(f"method.tau is {self.tau}; it must be above 0")

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        nets = super().build(blueprint)
        for name in ("global", "previous"):
            nets[name] = nn.ModuleDict({"generator": blueprint.generator().requires_grad_(False)})
        return nets

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        site.load(message.model, message.buffers, "global")

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        site.load(message.model, message.buffers, "previous")
        return message

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        own: list[Tensor] = []

        def generator(*given: Tensor) -> Tensor:
            image, features = self.observed(site.nets["generator"], *given)
            own.append(features)
            return image

        for player, loss in self.objective({**site.nets, "generator": generator}, batch):
            yield player, loss + self.mu * self.contrast(site, batch, own[0]) if player == "generator" else loss

    def observed(self, generator: nn.Module, *given: Tensor) -> tuple[Tensor, Tensor]:
        """The image that a generator makes, and the features `[B, C]` on the way."""
        return observe_bottleneck(self, generator, lambda maps: maps.float().relu().mean((2, 3)), *given)

    def contrast(self, site: SiteState, batch: Batch, own: Tensor) -> Tensor:
        """The mean over slices of the contrast of their features `[B, C]`."""
        frozen = [site.nets.get_submodule(f"{name}.generator").eval() for name in ("global", "previous")]
        with torch.no_grad():
            others = torch.stack([self.observed(generator, batch.source, batch.code)[1] for generator in frozen])
        near, far = F.cosine_similarity(own, others, dim=-1)
        return -F.logsigmoid((near - far) / self.tau).mean()


def bottleneck(method: Method, generator: nn.Module) -> nn.Module:
    """The last stage of a generator's bottleneck, whose features a method reads."""
    assert isinstance(generator, Generator)
    stages = [module for role, module in generator.stages() if role is Role.bottleneck]
    if not stages:
        raise ContractError(
            f"method {type(method).__name__} reads the features of the bottleneck; {type(generator).__name__} has none: choose "
            "another network, such as network=resnet"
        )
    return stages[-1]


def observe_bottleneck(
    method: Method, generator: nn.Module, read: Callable[[Tensor], Tensor], *given: Tensor
) -> tuple[Tensor, Tensor]:
    """The image that a generator makes, and what `read` makes of the maps that its bottleneck gives out on the way."""
    found: list[Tensor] = []
    handle = bottleneck(method, generator).register_forward_hook(lambda _, __, maps: found.append(read(maps)))
    try:
        image = generator(*given)
    finally:
        handle.remove()
    return image, found[0]
