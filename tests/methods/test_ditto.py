"""Ditto against its algorithm in plain torch and numpy; without its pull it is local training beside FedAvg, to the bit."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet
from support.plain import PlainSite, generator_loss, judge_loss, mean, write
from torch import Tensor, nn

from fedsynth.methods.ditto import Ditto
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.networks.blocks import Norm
from fedsynth.runtime.optimizers.sgd import SGD

trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=("brats", "ixi"))


def descend(net: nn.Module, loss: Tensor, lr: float, lam: float = 0.0, anchor: dict[str, Tensor] | None = None) -> None:
    """p <- p - lr (gradient + lam (p - anchor))."""
    named = dict(net.named_parameters())
    slopes = torch.autograd.grad(loss, list(named.values()))
    with torch.no_grad():
        for (name, p), slope in zip(named.items(), slopes, strict=True):
            p.sub_(lr * (slope + lam * (p - anchor[name])) if anchor else lr * slope)


def test_the_personal_model_is_the_papers() -> None:
    """Two rounds of v <- v - lr (gradient of F_k at v + lam (v - w_t)); w_t is taken from the trainer."""
    lam = 1000.0  # the steps are short, larger ones diverge on so small a net
    of = trainer(Ditto(lam=lam), optimizer=SGD(), lr=5e-5, rounds=4)
    nets = {name: deepcopy(site.nets["personal"]) for name, site in of.sites.items()}
    for round in (1, 2):
        server = {path: of.plan.model.part(of.server.model, path).clone() for path in of.plan.model.offsets}
        of.round(round)
        for name, net in nets.items():
            anchor = {path: server[f"generator.{path}"] for path, _ in net["generator"].named_parameters()}
            free = deepcopy(net)
            for draw in of.sites[name].feeds[name].train(round):
                batch = draw.make()
                for one, pull in ((net, lam), (free, 0.0)):
                    judge = one["discriminators"][str(batch.task)]
                    fake = one["generator"](batch.source, batch.code)
                    descend(judge, judge_loss(judge, batch, fake), of.options.lr)
                    descend(one["generator"], generator_loss(judge, batch, fake), of.options.lr, pull, anchor)
            ours = dict(of.sites[name].nets["personal"].named_parameters())
            for path, tensor in net.named_parameters():
                np.testing.assert_allclose(ours[path].detach(), tensor.detach(), atol=1e-6, err_msg=path)
            pairs = zip(net["generator"].parameters(), free["generator"].parameters(), strict=True)
            assert max(float((p - q).detach().abs().max()) for p, q in pairs) > 1e-4  # what the pull did


def test_the_federated_half_is_fedavg_in_plain_torch() -> None:
    of = trainer(Ditto(), local_steps=5)
    plain = {name: PlainSite(site, of.options) for name, site in of.sites.items()}
    generators = [site.generator for site in plain.values()]
    names = [name for name, _ in generators[0].named_parameters()]
    for round in (1, 2):
        of.round(round)
        for site in plain.values():
            site.train(round)
        write(generators, mean(generators, [site.samples for site in plain.values()], names))
    for name, parameter in generators[0].named_parameters():
        ours = of.plan.model.part(of.server.model, f"generator.{name}")
        np.testing.assert_allclose(ours, parameter.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_the_federated_half_is_fedavg_to_the_bit(lam: float, norm: Norm) -> None:
    ours, plain = (trainer(method, network=resnet(dropout=0.0, norm=norm)) for method in (Ditto(lam=lam), FedAvg()))
    for of in (ours, plain):
        of.round(1)
        of.round(2)
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[path]), path


@pytest.mark.parametrize("norm", Norm)
def test_without_a_pull_it_serves_local_training_to_the_bit(norm: Norm) -> None:
    on = resnet(dropout=0.3, norm=norm)
    ours, plain = (trainer(method, network=on, rounds=3, zoom=1.1) for method in (Ditto(lam=0.0), Local()))
    found, expected = ours.run(), plain.run()
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[f"personal.{path}"]), path
    assert found.scores == expected.scores
    assert found.selected_round == expected.selected_round


def test_the_pull_changes_what_is_served() -> None:
    pulled, free = (trainer(Ditto(lam=lam), rounds=1) for lam in (1.0, 0.0))
    for of in (pulled, free):
        of.round(1)
    one, other = (of.sites["ixi"].nets["personal"]["generator"] for of in (pulled, free))
    assert not all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


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
