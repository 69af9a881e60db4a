"""FedALA's weights: which layers learn them, how long, within which bounds, and who has none yet."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support import federations
from support.federations import federation, personalised, resnet

from fedsynth.methods import fedala
from fedsynth.methods.fedala import FedALA
from fedsynth.methods.fedavg import FedAvg
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Generator, Network
from fedsynth.networks.unet import UNet

UNET = UNet(width=4, pools=2, discriminator_width=4, discriminator_layers=1)
PLAIN = resnet(dropout=0.0)
trainer = partial(
    federations.trainer, network=PLAIN, sites=federation(("brats", "ixi"), train=5), rounds=9, validate_every=9
)


@pytest.mark.slow
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


@pytest.mark.slow
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
