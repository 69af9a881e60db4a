"""FL-MRCM aligns the sites' latent features with those of a target site (Guo et al., CVPR 2021).

Paper: https://arxiv.org/abs/2103.02148
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedsynth.exchange import Message
from fedsynth.feed import Batch
from fedsynth.method import Blueprint
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg
from .moon import bottleneck, observe_bottleneck

HIDDEN = 256  # units of the domain identifier; as in the released code


@dataclass
class FLMRCM(FedAvg):
    """The generator is averaged with the same weight for every site (1/K). Every site but the target has a domain identifier C
    that learns to tell its own latent features z from the target's z_t, and its generator learns to deceive it:

        C:          (BCE(C(z), source) + BCE(C(z_t), target)) / 2
        generator:  the task's losses + 100 align BCE(C(z), target) / 2

    z are the maps of the last bottleneck stage, averaged over 2 x 2 fields. As in the paper no image leaves the target. At the
    end of a round it sends the server z_t of 64 training slices of any of its tasks, and in the next round each source site
    is sent them; they count in the bytes. Nothing is aligned in a round before any have arrived.

    `target`: a site's name; if it is empty, the first site's. `align`: 1, the released weight, relative to L1's, as there.
    The ratio of gradients is 0.1.
    Identifiers and discriminators stay.

    What differs from the paper: it reconstructs, by L1 alone. z_t come from the last round's target model, in eval mode.

    What differs from the released code: it hands the source sites the target's images and trains on both ends, so that its z_t
    move too. C has the learning rate of all nets; there it is ten times the generator's.
    """

    published: ClassVar[str] = "unet"
    equal_weights: ClassVar[bool] = True
    latents: ClassVar[int] = 64  # training slices whose latents the target sends; ours
    target: str = ""  # the target site; the first one if empty
    align: float = 1.0  # weight of the alignment, relative to L1's

    def __post_init__(self) -> None:
        if self.align < 0:
            raise ValueError(f"method.align is {self.align}; it must be at least 0")

    def federate(self, names: Sequence[str]) -> list[list[str]]:
        if self.target and self.target not in names:
            raise ValueError(f"method.target is {self.target!r}; the sites are {', '.join(names)}")
        return super().federate(names)

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        nets = super().build(blueprint)
        *_, last = bottleneck(self, nets["generator"]).parameters()  # one row for each map that it gives out
        with blueprint.weights("identifier"):
            nets["identifier"] = Identifier(4 * len(last))
        return nets

    def download(self, server: Server, name: str) -> Message:
        is_target = name == (self.target or server.names[0])
        message = Message(super().download(server, name), is_target=is_target)
        if not is_target and "latents" in server.memory:
            message["latents"] = server.memory["latents"]
        return message

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        site.memory["is_target"] = message["is_target"]
        if "latents" in message:
            site.memory["latents"] = message["latents"]

    def phase(self, site: SiteState, k: int) -> str:
        return "align" if "latents" in site.memory else ""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        image, latents = self.observed(site.nets["generator"], batch.source, batch.code)
        identifier = site.nets["identifier"]
        if site.phase == "align":
            own = domain_loss(identifier(latents.detach()), is_target=False)
            yield "identifier", (own + domain_loss(identifier(site.memory["latents"]), is_target=True)) / 2
        for player, loss in self.objective({**site.nets, "generator": lambda *_: image}, batch):
            if player == "generator" and site.phase == "align":
                loss = loss + self.l1 * self.align * domain_loss(identifier(latents), is_target=True) / 2
            yield player, loss

    def observed(self, generator: nn.Module, *given: Tensor) -> tuple[Tensor, Tensor]:
        """The image that a generator makes, and the latents `[B, N]` on the way."""
        return observe_bottleneck(self, generator, lambda maps: pooled(maps).flatten(1), *given)

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        if site.memory["is_target"]:
            slices = [(batch.source[:1], batch.code[:1]) for batch in site.draw("latents", self.latents)]
            with torch.no_grad():
                message["latents"] = torch.cat([self.observed(site.nets["generator"], *one)[1] for one in slices])
        return message

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        for upload in uploads.values():
            if "latents" in upload:
                server.memory["latents"] = upload["latents"]


class Identifier(nn.Module):
    """Says of latents `[B, N]` whether they are a source's or the target's: two logits, `[B, 2]`."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.hidden, self.last = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, 2)

    def forward(self, latents: Tensor) -> Tensor:
        return F.leaky_relu(self.last(F.leaky_relu(self.hidden(latents), 0.2)), 0.2)


def domain_loss(logits: Tensor, is_target: bool) -> Tensor:
    """Mean binary cross entropy to the one-hot of source or target."""
    wanted = torch.zeros_like(logits)
    wanted[:, int(is_target)] = 1
    return F.binary_cross_entropy_with_logits(logits, wanted)


def pooled(maps: Tensor) -> Tensor:
    """Means over 2 x 2 fields, which share the middle line of an odd side; adaptive pooling has no repeatable CUDA gradient."""
    height, width = maps.shape[-2:]
    return F.avg_pool2d(maps.float(), (height - height // 2, width - width // 2), (height // 2, width // 2))
