"""What Ditto fulfils besides its equations: without its pull it is local training beside FedAvg, to the bit."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support import federations
from support.federations import resnet

from fedsynth.methods.ditto import Ditto
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.networks.blocks import Norm

trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=("brats", "ixi"))


@pytest.mark.slow
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
