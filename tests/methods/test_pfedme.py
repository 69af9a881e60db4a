"""What pFedMe fulfils besides its equations: where w_k takes all of theta it is FedAvg, to the bit; and what is served when."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from torch import Tensor

from fedsynth.evaluation.evaluate import serving
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.pfedme import PFedMe
from fedsynth.networks.blocks import Norm

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


@pytest.mark.parametrize("norm", Norm)
def test_a_local_model_that_takes_all_of_theta_is_fedavgs_to_the_bit(norm: Norm) -> None:
    """With one inner step and eta lam = 1, theta starts every step from w_k: no pull is left, whatever lam."""
    on = resnet(dropout=0.3, norm=norm)
    ours, plain = (
        trainer(method, network=on, zoom=1.1) for method in (PFedMe(lam=15.0, inner_steps=1, eta=1 / 15), FedAvg())
    )
    for of in (ours, plain):
        of.round(1)
        of.round(2)
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in plain.sites.items():
        for path, tensor in site.nets["discriminators"].named_parameters():
            assert torch.equal(tensor, ours.sites[name].tensors[f"discriminators.{path}"]), path


def test_a_discriminator_moves_once_a_batch() -> None:
    of = trainer(PFedMe(inner_steps=4))
    of.round(1)
    assert {row["gradient_evaluations"] for row in of.state.curve} == {3 * (1 + 4)}


@pytest.mark.parametrize("norm", Norm)
def test_a_site_serves_theta_once_it_has_one(norm: Norm) -> None:
    of = trainer(PFedMe(), network=resnet(dropout=0.0, norm=norm), participation=0.34)
    trained: dict[str, list[Tensor]] = {}
    for round in (1, 2):
        of.round(round)
        [name] = of.participants(round)
        trained[name] = [tensor.clone() for tensor in of.sites[name].tensors.values()]
    assert len(trained) < len(of.sites)
    for name, site in of.sites.items():
        with serving(of.method, of.server, site):
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
