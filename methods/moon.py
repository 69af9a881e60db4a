"""MOON: model-contrastive learning (Li, He and Song, CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedsynth.exchange import ContractError, Message
from fedsynth.feed import Batch
from fedsynth.method import Blueprint
from fedsynth.networks.network import Generator, Role
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class MOON(FedAvg):
    """The generator's loss has mu times a contrast of features: of the same slices z should be like the received model's, not
    like those of the model that the site uploaded last,

        -log( exp(cos(z, z_received) / tau) / (exp(cos(z, z_received) / tau) + exp(cos(z, z_previous) / tau)) )

    `mu`: 1, the released code's default (the paper chose from 0.1, 1, 5, 10); `tau`: 0.5. Both other models are frozen and in
    eval mode, as there; a site that has not uploaded yet has the common start for its previous model. Two more forward
    passes a step, without gradients.

    What differs: z is what the last bottleneck stage gives out, rectified and averaged over the pixels, as the classifiers'
    pooled features; without the rectifier a map that ends in instance norm would average to its bias whatever the image. The
    paper projects features by a layer before the classifier; a generator has none, and one beside the image's path would be
    trained by the contrast alone.
    """

    mu: float = 1.0
    tau: float = 0.5

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
            image, features = observed(site.nets["generator"], *given)
            own.append(features)
            return image

        for player, loss in self.objective({**site.nets, "generator": generator}, batch):
            yield player, loss + self.mu * self.contrast(site, batch, own[0]) if player == "generator" else loss

    def contrast(self, site: SiteState, batch: Batch, own: Tensor) -> Tensor:
        """The mean over slices of the contrast of their features `[B, C]`."""
        frozen = [site.nets.get_submodule(f"{name}.generator").eval() for name in ("global", "previous")]
        with torch.no_grad():
            others = torch.stack([observed(generator, batch.source, batch.code)[1] for generator in frozen])
        near, far = F.cosine_similarity(own, others, dim=-1)
        return -F.logsigmoid((near - far) / self.tau).mean()


def observed(generator: nn.Module, *given: Tensor) -> tuple[Tensor, Tensor]:
    """What a generator makes, and the features `[B, C]` of its last bottleneck stage on the way."""
    assert isinstance(generator, Generator)
    bottleneck = [module for role, module in generator.stages() if role is Role.bottleneck]
    if not bottleneck:
        raise ContractError(f"method MOON contrasts features of the bottleneck; {type(generator).__name__} has none")
    features: list[Tensor] = []
    handle = bottleneck[-1].register_forward_hook(lambda _, __, made: features.append(made.float().relu().mean((2, 3))))
    try:
        image = generator(*given)
    finally:
        handle.remove()
    return image, features[0]
