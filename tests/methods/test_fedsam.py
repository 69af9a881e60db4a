"""FedSAM: without a radius it is FedAvg, a step ahead raises the loss. The three rounds are an oracle's."""

from __future__ import annotations

import pytest
import torch
from support.federations import resnet, trainer

from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedsam import FedSAM
from fedsynth.methods.perfedavg import moved


def test_without_a_radius_it_is_fedavg() -> None:
    ends = []
    for method in (FedSAM(rho=0.0), FedAvg(), FedSAM(rho=0.1)):
        of = trainer(method, resnet(dropout=0.0), ("ixi", "oasis"))
        of.round(1)
        ends.append(of.server.model.clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-6)
    assert float((ends[2] - ends[1]).abs().max()) > 1e-5


def test_it_looks_where_the_loss_rises() -> None:
    of = trainer(FedSAM(rho=0.05), resnet(dropout=0.0), ("ixi",))
    site = of.sites["ixi"]
    [batch] = site.draw("look", 1)
    here = dict(of.method.objective(site.nets, batch))["generator"]
    slope = site.slope("generator", here)
    there = dict(of.method.objective(moved(site, 0.05 * slope / slope.norm()), batch))["generator"]
    assert float(there.detach()) > float(here.detach())
    *_, (player, loss) = of.method.step(site, batch)
    assert player == "generator"
    assert float(loss.detach()) == pytest.approx(float(there.detach()), rel=1e-5)


def test_a_step_takes_one_more_backward_pass() -> None:
    passes = []
    for method in (FedSAM(), FedAvg()):
        of = trainer(method, sites=("ixi",), local_steps=4)
        of.round(1)
        passes.append(of.state.costs.gradient_evaluations)
    assert passes == [12, 8]


def test_an_impossible_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.rho is -1"):
        FedSAM(rho=-1)
