"""FedALA against its algorithm with plain autograd and numpy: what a site starts from, and the weights that it learns."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import federations
from support.federations import federation, personalised, resnet
from support.plain import generator_loss
from torch.func import functional_call

from fedsynth.feed import Batch
from fedsynth.methods import fedala
from fedsynth.methods.fedala import FedALA
from fedsynth.methods.fedavg import FedAvg
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Generator, Network
from fedsynth.networks.unet import UNet
from fedsynth.site import SiteState

UNET = UNet(width=4, pools=2, discriminator_width=4, discriminator_layers=1)
PLAIN = resnet(dropout=0.0)
trainer = partial(
    federations.trainer, network=PLAIN, sites=federation(("brats", "ixi"), train=5), rounds=9, validate_every=9
)


class Oracle:
    """One site's adaptive local aggregation, by the released algorithm's lines, over tensors by name."""

    def __init__(self, site: SiteState, top: list[str], eta: float) -> None:
        self.site, self.top, self.eta = site, top, eta
        named = dict(site.nets["generator"].named_parameters())
        self.weights = {name: np.ones(named[name].shape, np.float32) for name in top}

    def initialise(self, served: dict[str, np.ndarray], batches: list[Batch], once: bool) -> tuple[dict[str, Any], int]:
        """The tensors that the site starts from, and how many passes it took."""
        net = deepcopy(self.site.nets["generator"]).eval()
        judges = self.site.nets["discriminators"]
        local = {name: p.detach().numpy().copy() for name, p in net.named_parameters()}
        losses: list[float] = []
        while True:
            for batch in batches:
                mixed = self.mixed(local, served)
                tensors = {name: torch.tensor(value, requires_grad=name in self.top) for name, value in mixed.items()}
                fake = functional_call(net, tensors, (batch.source, batch.code))
                loss = generator_loss(judges[str(batch.task)], batch, fake)  # type: ignore[index]  # a ModuleDict
                gradients = torch.autograd.grad(loss, [tensors[name] for name in self.top])
                for name, gradient in zip(self.top, gradients, strict=True):
                    change = self.eta * gradient.numpy() * (served[name] - local[name])
                    self.weights[name] = np.clip(self.weights[name] - change, 0, 1)
            losses.append(loss.item())
            if once or (len(losses) > 10 and np.std(losses[-10:]) < 0.1):
                return self.mixed(local, served), len(losses)

    def mixed(self, local: dict[str, np.ndarray], served: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        mix = {name: local[name] + (served[name] - local[name]) * self.weights[name] for name in self.top}
        return served | mix


@pytest.mark.parametrize(("layers", "eta"), [(1, 1.0), (0, 1.0), (2, 0.01)])
def test_what_a_site_starts_from_is_the_papers(layers: int, eta: float) -> None:
    of = trainer(FedALA(layers=layers, eta=eta), local_steps=6)
    site = of.sites["ixi"]
    named = [name for name, _ in site.nets["generator"].named_parameters()]
    last, before = named[-2:], named[-5:-2]  # a weight and a bias; a weight without one, and a norm's two
    top = {1: last, 2: before + last, 0: named}[layers]
    oracle = Oracle(site, top, eta)
    of.round(1)
    for round in (2, 3):
        site.enter(round)
        served = {n: of.plan.model.part(of.server.model, f"generator.{n}").numpy().copy() for n in named}
        batches = site.draw("weights", 4)  # 80 % of 10 slices, in batches of 2
        expected, passes = oracle.initialise(served, batches, once=round == 3)
        assert (passes > 10) is (round == 2)
        counted = of.step.backwards
        with site.hook("receive"):
            message = of.method.download(of.server, "ixi").delivered()
            of.method.receive(site, message)
        assert of.step.backwards - counted == 4 * passes
        weights = site.memory.tensor("weights")
        for name, p in site.nets["generator"].named_parameters():
            np.testing.assert_allclose(p.detach(), expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
            part = of.plan.model.part(weights, f"generator.{name}")
            np.testing.assert_allclose(part, oracle.weights.get(name, np.ones(part.shape)), rtol=1e-3, atol=1e-5)
        learned = np.concatenate([oracle.weights[name].ravel() for name in top])
        assert ((learned > 0) & (learned < 1)).mean() > 0.1  # the comparison is not of ones alone
        for _ in site.train({}):
            pass
        of.method.upload(site)


@pytest.mark.parametrize("norm", Norm)
def test_with_weights_that_stay_1_it_is_fedavg(norm: Norm) -> None:
    on = resnet(norm=norm)
    ours, plain = (trainer(method, network=on, rounds=3) for method in (FedALA(eta=0.0, layers=0), FedAvg()))
    scores = [of.run().scores for of in (ours, plain)]
    assert scores[0] == scores[1]
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in ours.sites.items():
        assert (site.memory.tensor("weights") == 1).all()
        assert all(torch.equal(tensor, plain.sites[name].tensors[path]) for path, tensor in site.tensors.items())


def test_weights_stay_between_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedala, "MOST_PASSES", 2)
    of = trainer(FedALA(eta=1e6, layers=0))
    of.round(1)
    of.round(2)
    for site in of.sites.values():
        weights = site.memory.tensor("weights")
        assert (weights.min(), weights.max()) == (0, 1)


def test_a_site_that_has_not_trained_takes_the_global_model() -> None:
    of = trainer(FedALA(), participation=0.5)
    [first] = of.participants(1)
    [other] = set(of.sites) - {first}
    of.round(1)
    for name in (first, other):
        site = of.sites[name]
        with site.preserved(), site.hook("serve"):
            site.load(site.pack() + 0.1)  # a site's own nets are not the server's, trained or not
            of.method.receive(site, of.method.download(of.server, name).delivered())
            assert torch.equal(site.pack(), of.server.model) is (name == other)


@pytest.mark.parametrize("on", [resnet(), UNET, personalised()], ids=["resnet", "unet", "personalised"])
@pytest.mark.parametrize("layers", [1, 3, 0])
def test_only_the_top_layers_learn_weights(on: Network, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedala, "MOST_PASSES", 1)
    of = trainer(FedALA(layers=layers), network=on)
    of.round(1)
    of.round(2)
    site = of.sites["ixi"]
    generator = site.nets["generator"]
    assert isinstance(generator, Generator)
    stages = generator.stages()
    backbone = [place for place, (role, _) in enumerate(stages) if role.name != "conditioning"]
    top = {id(p) for _, module in stages[backbone[-layers] if layers else 0 :] for p in module.parameters()}
    learned = []
    for name, p in generator.named_parameters():
        part = of.plan.model.part(site.memory.tensor("weights"), f"generator.{name}")
        if id(p) not in top:
            assert (part == 1).all(), name
        elif p.ndim > 1 and "gate" not in name:  # a hidden unit of a narrow gate may never have been active
            learned.append(bool((part < 1).any()))
    assert learned
    assert all(learned)


def test_learning_ends_though_the_losses_never_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedala, "SPREAD", 0.0)
    monkeypatch.setattr(fedala, "MOST_PASSES", 14)
    of = trainer(FedALA(), local_steps=2)
    for round in (1, 2, 3):
        of.round(round)
    trained = 2 * 2  # steps, of a discriminator and a generator
    counts = {row["round"]: row["gradient_evaluations"] for row in of.state.curve}
    assert counts == {1: trained, 2: trained + 14 * 4, 3: trained + 4}  # 4 batches a pass
