"""FedMRI's contrastive term by hand, when it begins, what travels, and what a site is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from support import federations
from support.federations import uneven
from torch import Tensor, nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.exchange import Message, Place, places
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedmri import FedMRI
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Network, Role
from fedsynth.networks.unet import UNet
from fedsynth.registry import NETWORKS
from fedsynth.server import Server

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects


def unet(norm: Norm = Norm.instance) -> Network:
    return UNet(width=2, pools=2, norm=norm, discriminator_width=2, discriminator_layers=1)


trainer = partial(federations.trainer, network=unet(), sites=uneven(SIZES))


def encoder(net: nn.Module) -> dict[str, Tensor]:
    """What the U-Net has before its first transposed convolution, by name."""
    front = tuple(f"backbone.{k}." for k in range(3))  # two halvings, and the stage below them
    return {path: p for path, p in net.named_parameters() if path.startswith(front)}


def test_the_term_and_its_gradient_by_hand() -> None:
    of = trainer(FedMRI())
    site = of.sites["ixi"]
    server, known, unknown = np.random.default_rng(0).normal(size=(3, of.plan.model.numel)).astype(np.float32)
    site.received = torch.from_numpy(server)
    site.memory["encoders"] = torch.from_numpy(np.stack([known, unknown, known * 2]))
    site.memory["known"] = torch.tensor([1.0, 0.0, 1.0])
    own = site.pack().double().numpy()
    near, far = np.abs(own - server).sum(), np.abs(own - known).sum() + np.abs(own - 2 * known).sum()
    assert isinstance(of.method, FedMRI)
    term = of.method.contrast(site)
    assert float(term.detach()) == pytest.approx(near / far, rel=1e-5)
    slope = np.sign(own - server) / far - near / far**2 * (np.sign(own - known) + np.sign(own - 2 * known))
    np.testing.assert_allclose(site.slope("generator", term), slope, rtol=1e-3, atol=1e-9)


@dataclass
class Whole(FedMRI):
    """Nothing stays local but the discriminators."""

    partial: ClassVar[bool] = False

    def travels(self, place: Place) -> bool:
        return place.net == "generator"


@dataclass
class Uniform(FedAvg):
    """FedAvg in which every site weighs the same."""

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        server.model = server.mean(uploads, "model", dict.fromkeys(uploads, 1.0))
        server.buffers = server.mean(uploads, "buffers", dict.fromkeys(uploads, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_without_the_term_and_with_nothing_local_it_is_uniform_fedavg_to_the_bit(norm: Norm) -> None:
    ours, plain, weighted = (trainer(m, network=unet(norm), rounds=3) for m in (Whole(beta=0.0), Uniform(), FedAvg()))
    for round in (1, 2, 3):
        for of in (ours, plain, weighted):
            of.round(round)
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in plain.sites.items():
        assert all(torch.equal(ours.sites[name].tensors[path], tensor) for path, tensor in site.tensors.items())
    assert not torch.equal(ours.server.model, weighted.server.model)


@pytest.mark.parametrize(("steps", "felt_in"), [(1, None), (2, 2)])
def test_the_term_begins_with_the_second_step_of_the_second_round(steps: int, felt_in: int | None) -> None:
    with_term, without = (trainer(FedMRI(beta=beta), local_steps=steps, rounds=3) for beta in (1e4, 0.0))
    for round in (1, 2):
        for of in (with_term, without):
            of.round(round)
        same = torch.equal(with_term.server.model, without.server.model)
        assert same is (felt_in is None or round < felt_in)


@pytest.mark.parametrize("name", NETWORKS.entries())
def test_encoder_and_bottleneck_travel_and_nothing_else(name: str) -> None:
    of = trainer(FedMRI(), network=small(NETWORKS[name]))
    shared = {place.path for layout in (of.plan.model, of.plan.buffers) for place in layout.places}
    for site in of.sites.values():
        for place, _ in places(site.nets):
            assert (place.path in shared) is (place.role in (Role.encoder, Role.bottleneck)), place.path


def test_a_site_is_sent_the_mean_and_what_each_other_site_sent_last() -> None:
    of = trainer(FedMRI(), participation=0.67, rounds=9)
    last: dict[str, Tensor] = {}
    for round in range(1, 6):
        present = of.participants(round)
        expected = {name: {other: last[other] for other in sorted(last) if other != name} for name in present}
        messages = {name: of.method.download(of.server, name) for name in present}
        of.round(round)
        for row in of.state.curve[-len(of.sites) :]:
            if row["site"] not in present:
                continue
            others = messages[row["site"]].tensor("others")
            assert [vector.tolist() for vector in others] == [v.tolist() for v in expected[row["site"]].values()]
            assert row["bytes_down"] == 4 * of.plan.model.numel * (1 + len(others))
            assert row["bytes_up"] == 4 * of.plan.model.numel
        last |= {name: of.sites[name].pack() for name in present}
    assert len(last) == 3
