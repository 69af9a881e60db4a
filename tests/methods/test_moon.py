"""MOON's features and frozen models; without its contrast, and as long as both of these are one, it is FedAvg."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import federations
from support.federations import personalised, resnet
from torch import Tensor, nn

from fedsynth.exchange import ContractError
from fedsynth.federation import Columns
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.moon import MOON
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Generator, Network, Role, Stage
from fedsynth.networks.unet import UNet
from fedsynth.runtime.options import Precision

PLAIN = resnet(dropout=0.0)
trainer = partial(federations.trainer, network=PLAIN, sites=("brats", "ixi"))


def features(generator: nn.Module, source: Tensor) -> Tensor:
    """A residual network's stages one after another up to the last of the bottleneck; rectified, averaged over pixels."""
    assert isinstance(generator, Generator)
    for role, module in generator.stages():
        if role in (Role.encoder, Role.bottleneck):
            source = module(source)
    return F.relu(source).mean((2, 3))


def contrast(z: Tensor, near: Tensor, far: Tensor, tau: float) -> Tensor:
    """The released code's form: cross-entropy of the cosines, the received model's being the right class."""
    logits = torch.stack([(z * other).sum(1) / (z.norm(dim=1) * other.norm(dim=1)) for other in (near, far)], 1)
    return F.cross_entropy(logits / tau, torch.zeros(len(z), dtype=torch.long))


@pytest.mark.parametrize("on", [PLAIN, personalised(), UNet(width=4, pools=2)], ids=["resnet", "personalised", "unet"])
def test_features_depend_on_the_image_and_on_the_weights_before_them(on: Network) -> None:
    """Although maps that end in instance norm have one mean whatever the image."""
    site = trainer(MOON(), network=on).sites["ixi"]
    batch = site.feeds["ixi"].train(1)[0].make()
    generator = site.nets["generator"]
    assert isinstance(generator, Generator)
    image, found = MOON().observed(generator.eval(), batch.source, batch.code)
    assert torch.equal(image, generator(batch.source, batch.code))
    assert found.shape[0] == len(batch.source)
    assert float((found[0] - found[1]).abs().max().detach()) > 1e-4
    last = [module for role, module in generator.stages() if role is Role.bottleneck][-1]
    for parameter in last.parameters():
        [slope] = torch.autograd.grad(found.square().sum(), [parameter], retain_graph=True)
        assert float(slope.norm()) > 1e-4
    assert not last._forward_hooks  # torch has no public name for them
    if on is PLAIN:
        np.testing.assert_allclose(found.detach(), features(generator, batch.source).detach(), rtol=1e-5)


@pytest.mark.parametrize("norm", Norm)
def test_without_the_contrast_it_is_fedavg_to_the_bit(norm: Norm) -> None:
    on = resnet(dropout=0.3, norm=norm)
    ours, plain = (trainer(m, network=on, rounds=3, zoom=1.1, participation=0.5) for m in (MOON(mu=0.0), FedAvg()))
    found, expected = ours.run(), plain.run()
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[path]), path
    assert found.scores == expected.scores


@pytest.mark.parametrize("norm", Norm)
def test_the_first_round_is_fedavgs_to_the_bit(norm: Norm) -> None:
    """The previous model is the common start, and so is the received one."""
    ours, plain = (trainer(method, network=resnet(norm=norm)) for method in (MOON(mu=10.0), FedAvg()))
    for round in (1, 2):
        for of in (ours, plain):
            of.round(round)
        assert torch.equal(ours.server.model, plain.server.model) is (round == 1)


def test_the_frozen_models_are_what_they_are_called() -> None:
    of = trainer(MOON(), network=resnet(norm=Norm.batch), participation=0.5, rounds=9)
    start = of.sites["ixi"].pack()
    for round in (1, 2, 3):
        served, buffers = of.server.model.clone(), of.server.buffers.clone()
        of.round(round)
        for name in of.participants(round):
            site = of.sites[name]
            for kind, model, statistics in (
                ("global", served, buffers),
                ("previous", site.pack(), site.pack_buffers()),
            ):
                frozen = {path.removeprefix(f"{kind}."): t for path, t in site.tensors.items() if path.startswith(kind)}
                assert torch.equal(site.pack(kind), model)
                assert torch.equal(of.plan.buffers.pack(frozen), statistics)
        trained = {name for past in range(1, round + 1) for name in of.participants(past)}
        for name in set(of.sites) - trained:
            assert torch.equal(of.sites[name].pack("previous"), start)
    for site in of.sites.values():
        assert not any(player.startswith(("global", "previous")) for player in site.players)
        assert all(path.startswith("generator.") for path in site.held)


def test_it_trains_under_autocast() -> None:
    of = trainer(MOON(), precision=Precision.bf16)
    for round in (1, 2, 3):
        of.round(round)
    assert of.state.diverged == ""
    site = of.sites["ixi"]
    batch = site.feeds["ixi"].train(1)[0].make()
    with torch.autocast("cpu", torch.bfloat16):
        _, found = MOON().observed(site.nets["generator"], batch.source, batch.code)
        assert found.dtype is torch.float32
        assert MOON().contrast(site, batch, found).dtype is torch.float32


class Headless(Generator):
    """One stage, which is no bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(1, 1, 1)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        image: Tensor = self.only(source)
        return image

    def stages(self) -> list[Stage]:
        return [Stage(Role.encoder, self.only)]


@dataclass
class HeadlessNetwork(Network):
    def generator(self, columns: Columns) -> Generator:
        return Headless()


def test_a_network_without_a_bottleneck_is_refused() -> None:
    of = trainer(MOON(), network=HeadlessNetwork(discriminator_width=4, discriminator_layers=1))
    with pytest.raises(ContractError, match="method MOON reads the features of the bottleneck; Headless has none"):
        of.round(1)


@pytest.mark.parametrize(
    ("given", "message"), [({"mu": -1.0}, "method.mu is -1.0"), ({"tau": 0.0}, "method.tau is 0.0")]
)
def test_options_have_ranges(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MOON(**given)
