"""FL-MRCM's identifier and latents: their sizes, who sends them, who aligns with whom, and that it brings them together."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from support import federations
from support.federations import PlainNetwork, federation, options, resnet, uneven

from fedsynth.benchmarks.contract.toy import small
from fedsynth.exchange import ContractError, Message
from fedsynth.method import Blueprint
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.flmrcm import FLMRCM, Identifier, domain_loss, pooled
from fedsynth.networks.blocks import Norm
from fedsynth.registry import NETWORKS
from fedsynth.server import Server
from fedsynth.trainer import Trainer


@pytest.fixture(autouse=True)
def _few_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FLMRCM, "latents", 5)


SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


@dataclass
class Uniform(FedAvg):
    """FedAvg in which every site weighs the same."""

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        server.model = server.mean(uploads, "model", dict.fromkeys(uploads, 1.0))
        server.buffers = server.mean(uploads, "buffers", dict.fromkeys(uploads, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_without_alignment_it_is_uniform_fedavg_to_the_bit(norm: Norm) -> None:
    methods = FLMRCM(align=0.0), Uniform(), FLMRCM()
    ours, plain, aligned = (trainer(method, network=resnet(norm=norm)) for method in methods)
    for round, same in ((1, True), (2, False)):  # nothing to align with in the first round
        for of in (ours, plain, aligned):
            of.round(round)
        assert torch.equal(ours.server.model, plain.server.model)
        assert torch.equal(ours.server.buffers, plain.server.buffers)
        assert torch.equal(aligned.server.model, plain.server.model) is same
    for name, site in plain.sites.items():
        assert all(torch.equal(ours.sites[name].tensors[path], tensor) for path, tensor in site.tensors.items())


def test_latents_alone_travel_beside_the_model_and_bytes_count_them() -> None:
    of = trainer(FLMRCM(target="midas"))
    for round in (1, 2):
        of.round(round)
        for row in of.state.curve[-3:]:
            model, latents = 4 * of.plan.model.numel, 4 * 5 * 4 * 16  # 16 maps of 2 x 2
            assert row["bytes_up"] == model + latents * (row["site"] == "midas")
            assert row["bytes_down"] == model + latents * (row["site"] != "midas" and round > 1)
    assert all(place.net == "generator" for place in of.plan.model.places)
    assert of.server.memory.tensor("latents").shape == (5, 64)


def test_the_target_aligns_with_nobody() -> None:
    of = trainer(FLMRCM(target="ixi"), rounds=3)
    before = deepcopy(of.sites["ixi"].nets["identifier"].state_dict())
    for round in (1, 2, 3):
        of.round(round)
        assert of.method.phase(of.sites["ixi"], 0) == ""
    assert all(torch.equal(before[path], t) for path, t in of.sites["ixi"].nets["identifier"].state_dict().items())
    assert of.method.phase(of.sites["brats"], 0) == "align"


def test_the_first_site_is_the_target_unless_one_is_named() -> None:
    for target, expected in (("", "brats"), ("midas", "midas")):
        of = trainer(FLMRCM(target=target))
        of.round(1)
        assert [name for name, site in of.sites.items() if site.memory["is_target"]] == [expected]


def test_alignment_brings_latents_together() -> None:
    """Two sets in the plane: an identifier that is trained tells where the target is, and following it leads there."""
    torch.manual_seed(0)
    own, theirs = torch.randn(32, 2) + 3, torch.randn(32, 2) - 3
    identifier = Identifier(2)
    shift = torch.zeros(2, requires_grad=True)
    judge, mover = torch.optim.Adam(identifier.parameters(), 1e-2), torch.optim.Adam([shift], 1e-1)
    for _ in range(60):
        judge.zero_grad()
        (
            (domain_loss(identifier((own + shift).detach()), False) + domain_loss(identifier(theirs), True)) / 2
        ).backward()
        judge.step()
        mover.zero_grad()
        domain_loss(identifier(own + shift), True).backward()
        mover.step()
    assert float((own.mean(0) + shift - theirs.mean(0)).norm().detach()) < 0.6 * float(
        (own.mean(0) - theirs.mean(0)).norm()
    )


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (4, 7), (5, 2), (16, 9)])
def test_pooling_is_torchs_adaptive_one(size: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *size)
    torch.testing.assert_close(pooled(maps), F.adaptive_avg_pool2d(maps, 2))


def test_the_identifier_has_the_released_size_on_the_papers_network() -> None:
    of = Trainer(FLMRCM(), NETWORKS["unet"](), federation(("ixi",), size=(32, 32)), options(), seed=0)
    assert sum(p.numel() for p in of.common["identifier"].parameters()) == 2048 * 256 + 256 + 256 * 2 + 2


@pytest.mark.parametrize("name", NETWORKS.entries())
def test_the_identifier_fits_every_networks_bottleneck(name: str) -> None:
    of = trainer(FLMRCM(), network=small(NETWORKS[name]), local_steps=1)
    of.round(1)
    width = of.server.memory.tensor("latents").shape[1]
    assert of.sites["ixi"].tensors["identifier.hidden.weight"].shape == (256, width)


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.target is 'nowhere'; the sites are brats, ixi, midas"):
        trainer(FLMRCM(target="nowhere"))


def test_an_impossible_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.align is -1"):
        FLMRCM(align=-1.0)


def test_a_network_without_a_bottleneck_is_refused() -> None:
    with pytest.raises(ContractError, match="PlainGenerator has none"):
        FLMRCM().build(Blueprint(PlainNetwork(), federation().columns, federation().all_tasks(), seed=0))
