"""PRR-FL shares the low frequencies of a deputy of the personal model (Chen et al., MICCAI 2021).

Paper: https://arxiv.org/abs/2110.00394
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from fedsynth.exchange import Message
from fedsynth.feed import Batch
from fedsynth.losses import l1
from fedsynth.method import Blueprint
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedbn import FedBN

STAGES = ("recover", "exchange", "sublimate")
LAST = 0.95  # share of the frequencies that is common in the last round, as in the released code


@dataclass
class PRRFL(FedBN):
    """A site trains a personal generator, which it serves, and a deputy, which alone travels. Each has its own discriminators
    and loss. In addition one may be drawn towards the image that the other makes of the same batch:

        recover     deputy towards personal     while q < alpha1
        exchange    both                        while q < alpha2
        sublimate   personal towards deputy     from there on

    q is how good the deputy is compared to the personal model. The server sends every site its own deputy back (progressive
    Fourier aggregation). It takes the 2-D transform of a weight, with input channels and kernel rows as rows, kernel columns
    and output channels as columns. The amplitudes in the central share r of the frequencies become the mean of all sites';
    the phases and the other amplitudes stay the site's own. r grows from `window` to 0.95 over the run. Biases are averaged,
    normalisation stays, and all sites have the same weight.

    `alpha1` 0.7, `alpha2` 0.9 and `window` 0.7 are the released code's. In a synthesis task the KL divergence of classes
    becomes L1 between images, weighed as the loss's L1 (there 1 : 1 with the cross entropy); the ratio of gradients is 1.5. The
    ratio of F1 scores becomes q = L1 error of the personal model / L1 error of the deputy, both on the site's training slices
    in eval mode (the released code scores training data).

    A transposed convolution's input and output channels trade places. An absent site's deputy keeps its phases and high
    frequencies and still takes the others' amplitudes. A site that never trained is sent the plain mean, which becomes its
    personal model as well: in round 1 that is the common start.

    What differs from the paper: it classifies, so KL and F1 are replaced as said. The stage is decided once, when the deputy
    arrives, not before each local epoch.

    What differs from the released code: the same. Recovery is not forced on the first epoch of a round: rounds here have one,
    and that code would then always exchange. The shared frequencies are |f| <= r n / 2 in both directions, as in the paper, so
    that weights stay real. That code leaves out the last one in both directions and drops an imaginary part: a weight of
    `resnet` would differ by 1 to 11 % of its norm, and by 3 to 12 % at width 8, where layers have fewer frequencies
    (`tests/methods/test_prrfl.py`, for weights that are drawn independently; those of trained networks may differ more).
    """

    partial: ClassVar[bool] = False
    averages: ClassVar[bool] = False  # but biases: amplitudes have a mean of their own
    alpha1: float = 0.7  # q below which only the deputy learns from the other
    alpha2: float = 0.9  # q above which only the personal model learns from the other
    window: float = 0.7  # share of the frequencies that is common in the first round

    def __post_init__(self) -> None:
        if not 0 <= self.alpha1 <= self.alpha2:
            raise ValueError(f"method.alpha1 is {self.alpha1}; it must be from 0 to method.alpha2, {self.alpha2}")
        if not 0 <= self.window <= LAST:
            raise ValueError(f"method.window is {self.window}; it must be from 0 to {LAST}")

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        return nn.ModuleDict({**super().build(blueprint), "personal": super().build(blueprint)})

    # --- the site ----------------------------------------------------------------------------------------------------

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        if "stage" not in site.memory:
            site.load(message.model, root="personal")
        batches = site.draw("stage", site.epoch)
        with torch.no_grad():
            personal, deputy = (
                torch.stack([l1(net(batch.source, batch.code), batch.target) for batch in batches]).mean()
                for net in (_personal(site)["generator"], site.nets["generator"])
            )
        site.memory["stage"] = int((personal >= self.alpha1 * deputy).int() + (personal >= self.alpha2 * deputy).int())

    def phase(self, site: SiteState, k: int) -> str:
        return STAGES[int(site.memory["stage"])]

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        personal = _personal(site)
        served, deputy = (nets["generator"](batch.source, batch.code) for nets in (personal, site.nets))
        for root, nets, image, teacher, taught in (
            ("personal.", personal, served, deputy, site.phase != "recover"),
            ("", site.nets, deputy, served, site.phase != "sublimate"),
        ):
            made = {"generator": lambda source, code, image=image: image, "discriminators": nets["discriminators"]}
            for player, loss in self.objective(made, batch):
                if player == "generator" and taught:
                    loss = loss + self.l1 * l1(image, teacher.detach())
                yield f"{root}{player}", loss

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        image: Tensor = _personal(site)["generator"](batch.source, batch.code)
        return image

    # --- the server --------------------------------------------------------------------------------------------------

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        for name, upload in uploads.items():
            server.memory[f"deputy of {name}"] = upload.model
        round = int(server.memory.get("round", 0))
        server.memory["round"] = round + 1
        share = self.window + min(round / server.rounds, 1) * (LAST - self.window)
        known = {name: key for name in server.names if (key := f"deputy of {name}") in server.memory}
        layout = server.plan.model
        for place, shape in zip(layout.places, layout.shapes, strict=True):
            weights = {name: layout.part(server.memory.tensor(key), place.path) for name, key in known.items()}
            if len(shape) < 2:
                for weight in weights.values():
                    weight.copy_(layout.part(server.model, place.path))
                continue
            spectra = {name: torch.fft.rfft2(_matrix(weight).double()) for name, weight in weights.items()}
            common = torch.stack([spectra[name].abs() for name in uploads]).mean(0)
            for name, spectrum in spectra.items():
                size = _matrix(weights[name]).shape
                amplitude = torch.where(_low(size, share, spectrum.device), common, spectrum.abs())
                mixed = torch.fft.irfft2(torch.polar(amplitude, spectrum.angle()), s=size)
                weights[name].copy_(mixed.view(weights[name].movedim(0, -1).shape).movedim(-1, 0))

    def download(self, server: Server, name: str) -> Message:
        message = super().download(server, name)
        return Message(message, model=server.memory.get(f"deputy of {name}", message.model))


def _personal(site: SiteState) -> nn.ModuleDict:
    personal = site.nets["personal"]
    assert isinstance(personal, nn.ModuleDict)
    return personal


def _matrix(weight: Tensor) -> Tensor:
    """A weight as a matrix: (input channels, kernel rows) x (kernel columns, output channels)."""
    moved = weight.movedim(0, -1)
    return moved.reshape(prod(moved.shape[: max(1, moved.ndim - 2)]), -1)


def _low(size: torch.Size, share: float, device: torch.device) -> Tensor:
    """Which frequencies of a real 2-D transform lie in the central share of both directions: bool `[h, w // 2 + 1]`."""
    h, w = size
    rows, columns = torch.arange(h, device=device), torch.arange(w // 2 + 1, device=device)
    return (torch.minimum(rows, h - rows) <= floor(h * share / 2))[:, None] & (columns <= floor(w * share / 2))
