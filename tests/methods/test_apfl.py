"""APFL against its algorithm in plain torch; at alpha 0 it serves FedAvg's model, at alpha 1 that of local training."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet
from support.plain import flat, generator_loss, gradient, judge_loss, write_flat
from torch import Tensor

from fedsynth.evaluation.evaluate import serving
from fedsynth.methods.apfl import APFL
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.networks.blocks import Norm
from fedsynth.runtime.optimizers.sgd import SGD
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


@pytest.mark.parametrize(("alpha", "adaptive"), [(0.25, False), (0.75, True)])
def test_rounds_are_the_papers(alpha: float, adaptive: bool) -> None:
    of = trainer(APFL(alpha=alpha, adaptive=adaptive), optimizer=SGD(), lr=5e-5, rounds=4)
    part_from_w(of, 0.02)
    nets = {name: deepcopy(site.nets) for name, site in of.sites.items()}
    v = {name: flat(net["personal"]["generator"]) for name, net in nets.items()}
    start, alphas = dict(v), dict.fromkeys(nets, alpha)
    served, lr = of.server.model, of.options.lr
    for round in (1, 2):
        of.round(round)
        sums: list[Tensor] = []
        for name, net in nets.items():
            w, mixed = served.clone(), deepcopy(net["generator"])
            for draw in of.sites[name].feeds[name].train(round):
                batch = draw.make()
                judge = net["personal"]["discriminators"][str(batch.task)]
                write_flat(mixed, alphas[name] * v[name] + (1 - alphas[name]) * w)
                fake = mixed(batch.source, batch.code)
                write_flat(judge, flat(judge) - lr * gradient(judge, judge_loss(judge, batch, fake)))
                slope = gradient(mixed, generator_loss(judge, batch, fake))
                gap = v[name] - w
                v[name] = v[name] - lr * alphas[name] * slope
                if adaptive:
                    alphas[name] = float(np.clip(alphas[name] - lr * float(gap @ slope), 0, 1))
                judge, generator = net["discriminators"][str(batch.task)], net["generator"]
                write_flat(generator, w)
                fake = generator(batch.source, batch.code)
                write_flat(judge, flat(judge) - lr * gradient(judge, judge_loss(judge, batch, fake)))
                w = w - lr * gradient(generator, generator_loss(judge, batch, fake))
            sums.append(of.sites[name].samples * w)
            ours = of.sites[name].nets
            for key, found in ((None, ours), ("personal", ours["personal"])):
                judges = net["discriminators"] if key is None else net[key]["discriminators"]
                np.testing.assert_allclose(flat(found["discriminators"]), flat(judges), atol=2e-6)
            np.testing.assert_allclose(flat(ours["personal"]["generator"]), v[name], atol=5e-5)  # |y - x| has a kink
            assert alpha_of(of.sites[name]) == pytest.approx(alphas[name], abs=2e-6)
        served = sum(sums, torch.zeros_like(served)) / sum(site.samples for site in of.sites.values())
        np.testing.assert_allclose(of.server.model, served, atol=5e-5)  # rounding may flip kinks
    assert min(float((v[name] - start[name]).abs().max()) for name in nets) > 1e-3
    assert all((abs(found - alpha) > 1e-3) is adaptive for found in alphas.values())


def test_what_is_served_is_the_mixture() -> None:
    of = trainer(APFL(alpha=0.3))
    of.round(1)
    for site in of.sites.values():
        [draw, *_] = site.feeds[site.name].train(2)
        batch, mixed = draw.make(), deepcopy(site.nets["generator"]).eval()
        write_flat(mixed, 0.3 * flat(site.nets["personal"]["generator"]) + 0.7 * of.server.model)
        with serving(of.method, of.server, site), torch.no_grad():
            image = of.method.synthesise(site, batch)
            np.testing.assert_allclose(image, mixed(batch.source, batch.code), atol=1e-5)


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
