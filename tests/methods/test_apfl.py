"""What APFL fulfils besides its equations: at alpha 0 it serves FedAvg's model, at alpha 1 that of local training."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support import federations
from support.federations import resnet

from fedsynth.evaluation.evaluate import serving
from fedsynth.methods.apfl import APFL
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.networks.blocks import Norm
from fedsynth.runtime.options import Precision
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=("brats", "ixi"))


def part_from_w(of: Trainer, size: float) -> None:
    """Move every personal generator away from w, so that the mixture and the slope of alpha have something to tell."""
    for site in of.sites.values():
        noise = torch.randn(of.plan.model.numel, generator=torch.Generator().manual_seed(site.samples))
        site.load(site.pack() + size * noise, root="personal")


def alpha_of(site: SiteState) -> float:
    [alpha] = site.nets["alpha"].parameters()
    return alpha.item()


@pytest.mark.parametrize(("norm", "adaptive"), [(Norm.instance, False), (Norm.batch, True)])
def test_the_federated_half_is_fedavg_to_the_bit(norm: Norm, adaptive: bool) -> None:
    on = resnet(dropout=0.0, norm=norm)
    ours, plain = (trainer(method, network=on) for method in (APFL(adaptive=adaptive), FedAvg()))
    for of in (ours, plain):
        of.round(1)
        of.round(2)
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[path]), path


def test_at_alpha_0_it_serves_fedavg_to_the_bit() -> None:
    """Without dropout, whose noise the mixed model draws first, and without running statistics, which stay at the site."""
    found, expected = (trainer(m, rounds=3, zoom=1.1, participation=0.5).run() for m in (APFL(alpha=0.0), FedAvg()))
    assert found.scores == expected.scores
    assert found.selected_round == expected.selected_round


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_at_alpha_1_it_serves_local_training_to_the_bit(norm: Norm) -> None:
    on = resnet(dropout=0.3, norm=norm)
    ours, plain = (trainer(method, network=on, rounds=3, zoom=1.1) for method in (APFL(alpha=1.0), Local()))
    found, expected = ours.run(), plain.run()
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[f"personal.{path}"]), path
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
        with serving(of.method, of.server, site), torch.no_grad():
            federated = site.nets["generator"](batch.source, batch.code)
            assert torch.equal(of.method.synthesise(site, batch), federated) is (name == absent)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_is_a_share(alpha: float) -> None:
    with pytest.raises(ValueError, match=rf"method.alpha is {alpha}; it must be"):
        APFL(alpha=alpha)
