"""When FedRep trains heads and when bodies, and that the two make the generator."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from support import federations
from support.federations import personalised, resnet
from torch import nn

from fedsynth.methods.fedrep import FedRep
from fedsynth.networks.network import Generator, Network, Role
from fedsynth.networks.unet import UNet

UNET = UNet(width=4, pools=2, discriminator_width=4, discriminator_layers=1)
NETWORKS = {"resnet": resnet(dropout=0.0), "unet": UNET, "personalised": personalised(dropout=0.0)}
EVERY = pytest.mark.parametrize("on", NETWORKS.values(), ids=NETWORKS)
trainer = partial(federations.trainer, network=NETWORKS["resnet"], sites=("brats", "ixi"))


def parts(generator: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The head is what the last of the network's modules holds: the convolution that makes the image."""
    *_, last = (module for module in generator.modules() if isinstance(module, nn.Conv2d) and module.out_channels == 1)
    head = list(last.parameters())
    return {"head": head, "body": [p for p in generator.parameters() if all(p is not own for own in head)]}


@pytest.mark.parametrize(
    ("given", "method", "expected"),
    [
        ({"local_steps": 0, "local_epochs": 4}, FedRep(), (9, 3)),  # 6 slices in batches of 2; the paper's: one epoch
        ({"local_steps": 0, "local_epochs": 4}, FedRep(body_epochs=2), (6, 6)),
        ({"local_steps": 0, "local_epochs": 1}, FedRep(), (2, 1)),  # no longer than an epoch: half, rounded down
        ({"local_steps": 5}, FedRep(), (3, 2)),
        ({"local_steps": 10}, FedRep(body_share=0.1), (9, 1)),
        ({"local_steps": 3}, FedRep(body_share=0.1), (2, 1)),  # at least one
        ({"local_steps": 1}, FedRep(), (0, 1)),
    ],
)
def test_heads_train_first_and_bodies_for_their_share(given: Any, method: FedRep, expected: tuple[int, int]) -> None:
    site = trainer(method, **given).sites["ixi"]
    phases = [method.phase(site, k) for k in range(site.steps)]
    assert phases == ["head"] * expected[0] + ["body"] * expected[1]


@EVERY
def test_head_and_body_make_the_generator(on: Network) -> None:
    of = trainer(FedRep(), network=on)
    site = of.sites["ixi"]
    generator = site.nets["generator"]
    assert isinstance(generator, Generator)
    expected = parts(generator)
    for part, parameters in expected.items():
        assert {id(p) for p in site.players[part]} == {id(p) for p in parameters}
    assert all(place.role is not Role.head for place in of.plan.model.places)
    assert "generator" not in site.players
