"""pFLSynth as a method: what travels, and that the code of site, source and target still speaks after a round."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from fedsynth.exchange import Place, Plan
from fedsynth.federation import Columns, Task
from fedsynth.method import Blueprint
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.networks.conditioning import Init, Mapper, PersonalBlock
from fedsynth.networks.network import Network, Role
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet
from fedsynth.networks.unet import UNet
from fedsynth.trainer import Trainer
from tests.federations import federation, options, personalised

TASKS = (Task("T1", "T2"), Task("T2", "PD"))


def plan(network: Network) -> Plan:
    nets = PFLSynth().build(Blueprint(network, Columns(4, 4), TASKS, seed=0))
    return Plan(nets, PFLSynth().travels)


def test_the_published_share_travels() -> None:
    assert plan(Personalised()).model.numel == 6_414_785  # stages 9-15 and the mapper, of 15,986,817


def test_a_site_holds_one_discriminator_a_task_and_sends_none() -> None:
    trainer = Trainer(PFLSynth(), personalised(), federation(), options(), seed=0)
    assert set(trainer.sites["ixi"].nets["discriminators"]) == {"T1->T2", "T2->PD"}
    assert {place.net for place in trainer.plan.model.places} == {"generator"}


def roles(network: Network) -> dict[Role | None, set[int]]:
    """Role -> which of its stages travel, counted from 1."""
    found: dict[Role | None, set[int]] = {}
    for place in plan(network).model.places:
        found.setdefault(place.role, set()).add(place.index)
    return found


@pytest.mark.parametrize(
    ("network", "shared"),
    [
        (Personalised(width=4), {Role.bottleneck: {6, 7, 8, 9}, Role.decoder: {1, 2}, Role.head: {1}}),
        (
            Personalised(width=4, blocks=3),
            {Role.bottleneck: {3}, Role.decoder: {1, 2}, Role.head: {1}},
        ),  # ceil(5/3) stay
        (ResNet(width=4), {Role.bottleneck: {6, 7, 8, 9}, Role.decoder: {1, 2}, Role.head: {1}}),
        (UNet(width=4, pools=2), {Role.decoder: {1, 2}, Role.head: {1}}),
    ],
)
def test_late_stages_travel(network: Network, shared: dict[Role | None, set[int]]) -> None:
    found = roles(network)
    found.pop(Role.conditioning, None)
    assert found == shared


def test_of_conditioning_only_the_mapper_travels() -> None:
    def conditioning(place: Place) -> bool:
        return place.role is Role.conditioning

    travelling = [place for place in plan(Personalised(width=4)).model.places if conditioning(place)]
    assert travelling
    assert all(place.within(Mapper) and not place.within(PersonalBlock) for place in travelling)


def movement(trainer: Trainer, first: int, second: int) -> float:
    """How far another one-hot in the code moves ixi's output, in standard deviations of the output."""
    site = trainer.sites["ixi"]
    feed = site.feeds["ixi"]
    batch = feed.batch(Task("T1", "T2"), torch.arange(4))
    other = batch.code.clone()
    other[:, [first, second]] = other[:, [second, first]]
    with site.hook("probe"), torch.no_grad():
        synthesise = partial(site.nets["generator"], batch.source)
        one, two = (out.double() for out in map(synthesise, (batch.code, other)))
    assert not torch.equal(batch.code, other)
    return float(_rms(one - two) / one.std())


def _rms(difference: Tensor) -> Tensor:
    return difference.square().mean().sqrt()


CHANGES = {  # positions in ixi's code for T1->T2: sites brats ixi midas oasis, then sources and targets T1 T2 PD FLAIR
    "site": (1, 2),
    "source": (4, 5),
    "target": (9, 10),
}


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("init", [Init.designed, Init.scaled, Init.released])
def test_the_code_moves_the_output(init: Init, change: str, rounds: int) -> None:
    network = personalised(width=16, latent=64, mapper_layers=6, init=init)
    trainer = Trainer(PFLSynth(), network, federation(), options(local_steps=4), seed=0)
    for round in range(1, rounds + 1):
        trainer._round(round)
    moved = movement(trainer, *CHANGES[change])
    if init is Init.released:
        assert moved < 1e-7
    else:
        assert moved > 1e-2
