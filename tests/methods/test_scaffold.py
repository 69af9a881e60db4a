"""What SCAFFOLD's controls must always fulfil, and when they change."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, uneven

from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.scaffold import SCAFFOLD
from fedsynth.runtime.optimizers.sgd import SGD

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects
DESCENT = {"optimizer": SGD(), "lr": 5e-5}  # larger steps diverge on so small a net, and rounding with them
PARTIAL = {"rounds": 6, "participation": 0.67}  # two of three
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_the_mean_gradient_is_option_2_under_sgd(clip: float) -> None:
    of = trainer(SCAFFOLD(), **DESCENT, **PARTIAL, clip=clip)
    for round in range(1, 4):
        x, present = of.server.model, of.participants(round)
        c = of.server.memory.get("control", torch.zeros_like(x)).clone()
        own = {name: of.sites[name].memory.get("control", torch.zeros_like(x)).clone() for name in present}
        of.round(round)
        for name in present:
            site = of.sites[name]
            expected = own[name] - c + (x - site.pack()) / (site.steps * site.lr)
            np.testing.assert_allclose(site.memory.tensor("control"), expected, atol=2e-3)


def test_the_first_round_is_fedavgs_to_the_bit() -> None:
    ours, plain = (trainer(method, network=resnet(), local_steps=5) for method in (SCAFFOLD(), FedAvg()))
    for of in (ours, plain):
        of.round(1)
    assert torch.equal(ours.server.model, plain.server.model)
    for name, site in ours.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, plain.sites[name].tensors[path]), path
    for of in (ours, plain):
        of.round(2)
    assert not torch.equal(ours.server.model, plain.server.model)


def test_the_servers_control_is_the_mean_of_the_sites_whoever_is_absent() -> None:
    of = trainer(SCAFFOLD(), **PARTIAL)
    for round in range(1, 6):
        of.round(round)
        zero = torch.zeros_like(of.server.model)
        controls = torch.stack([site.memory.get("control", zero) for site in of.sites.values()])
        np.testing.assert_allclose(of.server.memory.tensor("control"), controls.mean(0), rtol=1e-4, atol=2e-6)


def test_a_control_changes_when_it_is_delivered_and_not_before() -> None:
    of = trainer(SCAFFOLD())
    of.round(1)
    site = of.sites["ixi"]
    before = site.memory.tensor("control").clone()
    site.enter(2)
    message = of.method.download(of.server, "ixi").delivered()
    site.received = message.model
    of.method.receive(site, message)
    for _ in site.train({}):
        pass
    assert torch.equal(site.memory.tensor("control"), before)
    upload = of.method.upload(site)
    np.testing.assert_allclose(site.memory.tensor("control"), before + upload.tensor("change"), rtol=1e-4, atol=1e-4)
    assert not torch.equal(site.memory.tensor("control"), before)


def test_model_and_control_travel_both_ways() -> None:
    of = trainer(SCAFFOLD())
    of.round(1)
    for row in of.state.curve:
        assert row["bytes_up"] == row["bytes_down"] == 2 * 4 * of.plan.model.numel
