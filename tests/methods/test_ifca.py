"""What IFCA fulfils besides its equations: with which models it starts, which stay as they were, and which are served."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from torch import Tensor

from fedsynth.method import Method
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.ifca import IFCA
from fedsynth.networks.blocks import Norm
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects


def trainer(method: Method | None = None, norm: Norm = Norm.instance, **given: Any) -> Trainer:
    return federations.trainer(method or IFCA(), resnet(dropout=0.0, norm=norm), uneven(SIZES), **given)


@cache
def fitted(name: str, norm: Norm) -> tuple[Tensor, Tensor]:
    """The parameters and buffers of a generator trained at this site alone."""
    site = trainer(FedAvg(), norm, rounds=9, local_steps=8).sites[name]
    for round in range(1, 9):
        site.enter(round)
        for _ in site.train({}):
            pass
    return site.pack(), site.pack_buffers()


def plant(of: Trainer, *fitting: str, norm: Norm = Norm.instance) -> None:
    """Make the clusters' models those that were trained at these sites, so that who chooses which is known."""
    of.server.memory["models"] = torch.stack([fitted(name, norm)[0] for name in fitting])
    of.server.memory["buffers"] = torch.stack([fitted(name, norm)[1] for name in fitting])


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_one_cluster_is_fedavg(norm: Norm) -> None:
    ours, plain = (trainer(method, norm, rounds=3) for method in (IFCA(clusters=1), FedAvg()))
    scores = [of.run().scores for of in (ours, plain)]
    assert scores[0] == scores[1]
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in ours.sites.items():
        assert all(torch.equal(tensor, plain.sites[name].tensors[path]) for path, tensor in site.tensors.items())


@pytest.mark.slow
def test_a_model_that_nobody_chose_stays_as_it_was() -> None:
    of = trainer(IFCA(clusters=3))
    plant(of, "ixi", "midas", "brats")
    with torch.no_grad():
        spoilt = of.server.memory.tensor("models")
        spoilt[1] = 5.0
    before = spoilt.clone()
    of.round(1)
    after = of.server.memory.tensor("models")
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [False, True, False]
    assert 1 not in {site.memory["cluster"] for site in of.sites.values()}


@pytest.mark.parametrize("norm", Norm)
def test_the_start_is_one_draw_a_cluster_and_the_common_one_is_among_them(norm: Norm) -> None:
    of, method = trainer(IFCA(clusters=3), norm), IFCA(clusters=3)
    message = method.download(of.server, "ixi")
    assert message.model.shape == (3, of.plan.model.numel)
    assert message.buffers.shape == (3, of.plan.buffers.numel)
    assert torch.equal(message.model[0], trainer(FedAvg(), norm).server.model)
    assert len({vector.sum().item() for vector in message.model}) == 3
    of.round(1)
    vector = (of.plan.model.numel + of.plan.buffers.numel) * 4
    assert {(row["bytes_down"], row["bytes_up"]) for row in of.state.curve} == {(3 * vector, vector)}


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("name", ["ixi", "midas"])
def test_a_site_serves_the_model_that_it_chose_wherever_it_stands(norm: Norm, name: str) -> None:
    chosen = []
    for order in (("ixi", "midas"), ("midas", "ixi")):
        of = trainer(norm=norm)
        plant(of, *order, norm=norm)
        site = of.sites[name]
        site.enter(1)
        with site.preserved(), site.hook("serve"):
            of.method.receive(site, of.method.download(of.server, name).delivered())
            cluster = int(site.memory["cluster"])
            assert torch.equal(site.pack(), of.server.memory.tensor("models")[cluster])
            assert torch.equal(site.pack_buffers(), of.server.memory.tensor("buffers")[cluster])
        chosen.append(order[cluster])
    assert chosen[0] == chosen[1]
    assert norm is Norm.batch or chosen[0] == name  # under running statistics the other one may fit better so early


def test_less_than_one_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match=r"method.clusters is 0; it must be at least 1"):
        IFCA(clusters=0)
