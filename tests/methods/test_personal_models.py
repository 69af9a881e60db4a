"""What methods with a personal model beside the federated one fulfil besides their equations: Ditto, APFL and pFedMe."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from torch import Tensor

from fedsynth.evaluation.evaluate import serving
from fedsynth.method import Method
from fedsynth.methods.apfl import APFL
from fedsynth.methods.ditto import Ditto
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.methods.pfedme import PFedMe
from fedsynth.networks.blocks import Norm
from fedsynth.runtime.options import Precision
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=("brats", "ixi"))
uneven_trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


def same_tensors(ours: Trainer, plain: Trainer, root: str = "", only: str = "") -> None:
    """Every tensor of `plain`'s sites whose path starts with `only` is in `ours` under `root`."""
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            if path.startswith(only):
                assert torch.equal(tensor, ours.sites[name].tensors[f"{root}{path}"]), path


def same_federation(ours: Trainer, plain: Trainer, only: str = "") -> None:
    """After two rounds the servers are the same to the bit, and so are the sites' tensors whose path starts with `only`."""
    for of in (ours, plain):
        of.round(1)
        of.round(2)
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    same_tensors(ours, plain, only=only)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize(
    "method", [Ditto(lam=0.0), pytest.param(APFL(alpha=1.0), marks=pytest.mark.slow)], ids=["ditto", "apfl"]
)
def test_without_the_federation_s_part_local_training_is_served_to_the_bit(method: Method, norm: Norm) -> None:
    on = resnet(dropout=0.3, norm=norm)
    ours, plain = (trainer(m, network=on, rounds=3, zoom=1.1) for m in (method, Local()))
    found, expected = ours.run(), plain.run()
    same_tensors(ours, plain, root="personal.")
    assert found.scores == expected.scores
    assert found.selected_round == expected.selected_round


# Ditto


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_the_federated_half_of_ditto_is_fedavg_to_the_bit(lam: float, norm: Norm) -> None:
    ours, plain = (trainer(method, network=resnet(dropout=0.0, norm=norm)) for method in (Ditto(lam=lam), FedAvg()))
    same_federation(ours, plain)


def test_the_personal_nets_start_as_the_common_ones_and_never_travel() -> None:
    of = trainer(Ditto())
    for site in of.sites.values():
        common = {path: p for path, p in site.nets.named_parameters() if not path.startswith("personal.")}
        assert site.nets["personal"]["discriminators"].keys() == site.nets["discriminators"].keys()
        for path, tensor in common.items():
            own = site.tensors[f"personal.{path}"]
            assert torch.equal(own, tensor), path
            assert own is not tensor, path
        assert all(path.startswith("generator.") for path in site.held)
        assert {"personal.generator", "generator"} <= site.players.keys()


# APFL


def part_from_w(of: Trainer, size: float) -> None:
    """Move every personal generator away from w, so that the mixture and the slope of alpha have something to tell."""
    for site in of.sites.values():
        noise = torch.randn(of.plan.model.numel, generator=torch.Generator().manual_seed(site.samples))
        site.load(site.pack() + size * noise, root="personal")


def alpha_of(site: SiteState) -> float:
    [alpha] = site.nets["alpha"].parameters()
    return alpha.item()


@pytest.mark.parametrize(("norm", "adaptive"), [(Norm.instance, False), (Norm.batch, True)])
def test_the_federated_half_of_apfl_is_fedavg_to_the_bit(norm: Norm, adaptive: bool) -> None:
    on = resnet(dropout=0.0, norm=norm)
    ours, plain = (trainer(method, network=on) for method in (APFL(adaptive=adaptive), FedAvg()))
    same_federation(ours, plain)


def test_at_alpha_0_apfl_serves_fedavg_to_the_bit() -> None:
    """Without dropout, whose noise the mixed model draws first, and without running statistics, which stay at the site."""
    found, expected = (trainer(m, rounds=3, zoom=1.1, participation=0.5).run() for m in (APFL(alpha=0.0), FedAvg()))
    assert found.scores == expected.scores
    assert found.selected_round == expected.selected_round


def test_alpha_stays_between_0_and_1() -> None:
    of = trainer(APFL(adaptive=True), local_steps=1, lr=1.0)  # Adam's first step is as long as the rate
    part_from_w(of, 0.02)
    of.round(1)
    assert {alpha_of(site) for site in of.sites.values()} <= {0.0, 1.0}


def test_alpha_moves_by_the_trainers_optimiser_and_never_travels() -> None:
    of = trainer(APFL(adaptive=True), precision=Precision.bf16)
    of.round(1)
    of.round(2)
    assert len({alpha_of(site) for site in of.sites.values()} | {0.5}) == 3
    for site in of.sites.values():
        assert set(site.players["alpha"]) == set(site.nets["alpha"].parameters())
        assert all(path.startswith("generator.") for path in site.held)
    assert "alpha" not in trainer(APFL()).sites["ixi"].players


def test_a_site_that_never_trained_serves_the_servers_model() -> None:
    of = trainer(APFL(), network=resnet(dropout=0.0, norm=Norm.batch), participation=0.5)
    [present] = of.participants(1)
    [absent] = set(of.sites) - {present}
    of.round(1)
    for name in (present, absent):
        site = of.sites[name]
        [draw, *_] = site.feeds[name].train(1)
        batch = draw.make()
        with serving(of.method, of.server_party.download(site.name), site), torch.no_grad():
            federated = site.nets["generator"](batch.source, batch.code)
            assert torch.equal(of.method.synthesise(site, batch), federated) is (name == absent)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_is_a_share(alpha: float) -> None:
    with pytest.raises(ValueError, match=rf"method.alpha is {alpha}; it must be"):
        APFL(alpha=alpha)


# pFedMe


@pytest.mark.parametrize("norm", Norm)
def test_a_local_model_that_takes_all_of_theta_is_fedavgs_to_the_bit(norm: Norm) -> None:
    """With one inner step and eta lam = 1, theta starts every step from w_k: no pull is left, whatever lam."""
    on = resnet(dropout=0.3, norm=norm)
    ours, plain = (
        uneven_trainer(method, network=on, zoom=1.1)
        for method in (PFedMe(lam=15.0, inner_steps=1, eta=1 / 15), FedAvg())
    )
    same_federation(ours, plain, only="discriminators.")


def test_a_discriminator_moves_once_a_batch() -> None:
    of = uneven_trainer(PFedMe(inner_steps=4))
    of.round(1)
    assert {row["gradient_evaluations"] for row in of.state.curve} == {3 * (1 + 4)}


@pytest.mark.parametrize("norm", Norm)
def test_a_site_serves_theta_once_it_has_one(norm: Norm) -> None:
    of = uneven_trainer(PFedMe(), network=resnet(dropout=0.0, norm=norm), participation=0.34)
    trained: dict[str, list[Tensor]] = {}
    for round in (1, 2):
        of.round(round)
        [name] = of.participants(round)
        trained[name] = [tensor.clone() for tensor in of.sites[name].tensors.values()]
    assert len(trained) < len(of.sites)
    for name, site in of.sites.items():
        with serving(of.method, of.server_party.download(site.name), site):
            assert torch.equal(site.pack(), of.server.model) is (name not in trained)
            assert torch.equal(site.pack_buffers(), of.server.buffers) or name in trained
            for tensor, expected in zip(site.tensors.values(), trained.get(name, ()), strict=False):
                assert torch.equal(tensor, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lam": 0.0}, "method.lam is 0.0; it must be above 0"),
        ({"eta": -1.0}, "method.eta is -1.0; it must be above 0"),
        ({"beta": 0.0}, "method.beta is 0.0; it must be above 0"),
        ({"eta": 0.1}, "method.eta is 0.1; it must be at most 1 / lam"),
        ({"inner_steps": 0}, "method.inner_steps is 0; it must be at least 1"),
    ],
)
def test_options_have_ranges(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PFedMe(**given)
