"""pFLSynth as a method: what travels, and that the code of site, source and target still speaks after a round."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from support.federations import personalised, trainer
from torch import Tensor

from fedsynth.exchange import Place, Plan
from fedsynth.federation import Columns, Task
from fedsynth.method import Blueprint
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.methods.pflsynth import PFLSynth, Share
from fedsynth.networks.conditioning import Condition, Init, Mapper, PersonalBlock
from fedsynth.networks.network import Network, Role
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet
from fedsynth.networks.unet import UNet
from fedsynth.trainer import Trainer

TASKS = (Task("T1", "T2"), Task("T2", "PD"))


def plan(network: Network) -> Plan:
    nets = PFLSynth().build(Blueprint(network, Columns(4, 4), TASKS, seed=0))
    return Plan(nets, PFLSynth().travels)


def test_the_published_share_travels() -> None:
    assert plan(Personalised()).model.numel == 6_414_785  # stages 9-15 and the mapper, of 15,986,817


def test_a_site_holds_one_discriminator_a_task_and_sends_none() -> None:
    of = trainer(PFLSynth(), personalised())
    assert set(of.sites["ixi"].nets["discriminators"]) == {"T1->T2", "T2->PD"}
    assert {place.net for place in of.plan.model.places} == {"generator"}


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


def movement(of: Trainer, first: int, second: int) -> float:
    """How far another one-hot in the code moves ixi's output, in standard deviations of the output."""
    site = of.sites["ixi"]
    feed = site.feeds["ixi"]
    batch = feed.batch(Task("T1", "T2"), np.arange(4))
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
@pytest.mark.parametrize("init", [Init.designed, Init.scaled, Init.released])
def test_the_code_moves_the_output(init: Init, rounds: int) -> None:
    of = trainer(PFLSynth(), personalised(width=16, latent=64, init=init), local_steps=4)
    for round in range(1, rounds + 1):
        of.round(round)
    moved = [movement(of, *change) for change in CHANGES.values()]
    if init is Init.released:
        assert max(moved) < 1e-7
    else:
        assert min(moved) > 1e-2


# Ablations


def shared(method: PFLSynth, network: Network) -> set[tuple[Role | None, int, bool]]:
    """(role, index, conditioning by a mapper) of what travels of the generator."""
    nets = method.build(Blueprint(network, Columns(4, 4), TASKS, seed=0))
    chosen = Plan(nets, method.travels).model.places
    return {(place.role, place.index, place.within(Mapper)) for place in chosen if place.net == "generator"}


def test_early_stages_are_those_that_late_ones_are_not() -> None:
    net = Personalised(width=4, blocks=3, latent=8)
    late, early, whole = (shared(PFLSynth(share=share), net) for share in (Share.late, Share.early, Share.all))
    assert late & early == {(Role.conditioning, 1, True)}  # the mapper
    backbone = {row for row in whole if row[0] is not Role.conditioning}
    assert {row for row in late | early if row[0] is not Role.conditioning} == backbone
    assert whole > late | early  # personalisation blocks too


@pytest.mark.parametrize(("share", "stays"), [(0.0, 0), (1 / 3, 1), (1.0, 3)])
def test_the_depth_of_the_cut_is_an_option(share: float, stays: int) -> None:
    travelling = shared(PFLSynth(local_share=share), Personalised(width=4, blocks=3, latent=8))
    assert {index for role, index, _ in travelling if role is Role.bottleneck} == set(range(stays + 1, 4))


def test_a_local_mapper_stays() -> None:
    assert not any(mapper for _, _, mapper in shared(PFLSynth(local_mapper=True), personalised()))


@pytest.mark.slow
@pytest.mark.parametrize("share", [Share.all, Share.none])
def test_all_and_none_are_averaging_and_local_training(share: Share) -> None:
    plain = FedAvg() if share is Share.all else Local()
    runs = [trainer(method, personalised()).run() for method in (PFLSynth(share=share), plain)]
    assert runs[0].digest == runs[1].digest
    assert runs[0].scores == runs[1].scores


def test_one_discriminator_serves_all_tasks_and_may_be_shared() -> None:
    method = PFLSynth(one_discriminator=True, shared_discriminators=True)
    of = trainer(method, personalised())
    assert {tuple(site.nets["discriminators"]) for site in of.sites.values()} == {("all tasks",)}
    assert {place.net for place in of.plan.model.places} == {"generator", "discriminators"}
    of.round(1)
    moved = [row["loss_discriminator"] for row in of.state.curve]
    assert all(loss > 0 for loss in moved)


def test_without_the_adversarial_term_no_discriminator_moves() -> None:
    of = trainer(PFLSynth(adversarial=0.0), personalised())
    before = [p.detach().clone() for site in of.sites.values() for p in site.nets["discriminators"].parameters()]
    of.round(1)
    after = [p for site in of.sites.values() for p in site.nets["discriminators"].parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize(("condition", "blind"), [("task", "site"), ("site", "task")])
def test_a_network_without_a_part_of_the_code_does_not_read_it(condition: str, blind: str) -> None:
    columns = Columns(4, 4)
    net = Personalised(width=4, blocks=1, latent=8, condition=Condition[condition]).generator(columns).eval()
    image, codes = torch.rand(1, 1, 16, 16), torch.zeros(3, 1, columns.length)
    codes[:, 0, [0, 4, 9]] = 1
    codes[1, 0, :4] = torch.tensor([0.0, 1, 0, 0])  # another site
    codes[2, 0, 8:] = torch.tensor([0.0, 0, 1, 0])  # another target
    base, site, task = (net(image, code) for code in codes)
    assert torch.equal(base, site) is (blind == "site")
    assert torch.equal(base, task) is (blind == "task")


@pytest.mark.parametrize("part", ["adain", "gate"])
def test_a_part_of_the_block_can_be_left_out(part: str) -> None:
    net = Personalised(width=4, blocks=1, latent=8, **{part: False}).generator(Columns(4, 4))
    blocks = [module for module in net.modules() if isinstance(module, PersonalBlock)]
    assert all(getattr(block, part) is None for block in blocks)
    with pytest.raises(ValueError, match="both off"):
        Personalised(adain=False, gate=False)
