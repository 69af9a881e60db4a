"""FedCycle against CycleGAN's equations in plain torch, with one generator for both directions; and what travels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

import pytest
import torch
from support import federations
from support.federations import in_float64, resnet, reversed_code, squares_to_one, uneven
from support.oracles.world import distance
from torch import Tensor, nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.feed import Batch
from fedsynth.methods.fedcycle import FedCycle, Losses, swap
from fedsynth.registry import NETWORKS
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects; their tasks differ but for T1->T2
CYCLE, IDENTITY = 7.0, 3.0
trainer = partial(federations.trainer, network=small(NETWORKS["switchable_unet"]), sites=uneven(SIZES))


def judges_loss(of: Trainer, nets: nn.ModuleDict, batch: Batch) -> Tensor:
    """Both directions: half of LSGAN's squared errors."""
    task, other = str(batch.task), cast(Batch, batch.second)
    d_y, d_x, g = nets["discriminators"][task], nets["discriminators_back"][task], nets["generator"]
    with torch.no_grad():
        fake_y, fake_x = g(batch.source, batch.code), g(other.target, reversed_code(of, batch))
    y, x = other.target, batch.source
    real = squares_to_one(d_y(y, y)) + squares_to_one(d_x(x, x))
    return (real + (d_y(fake_y, fake_y) ** 2).mean() + (d_x(fake_x, fake_x) ** 2).mean()) / 2


def generator_loss(of: Trainer, nets: nn.ModuleDict, batch: Batch, losses: Losses) -> Tensor:
    task, other = str(batch.task), cast(Batch, batch.second)
    d_y, d_x, g = nets["discriminators"][task], nets["discriminators_back"][task], nets["generator"]
    there, back = batch.code, reversed_code(of, batch)
    fake_y, fake_x = g(batch.source, there), g(other.target, back)
    loss = squares_to_one(d_y(fake_y, fake_y)) + squares_to_one(d_x(fake_x, fake_x))
    if losses is not Losses.paired:
        loss = loss + CYCLE * distance(g(fake_y, back), batch.source) + CYCLE * distance(g(fake_x, there), other.target)
        loss = loss + IDENTITY * distance(g(other.target, there), other.target)
        loss = loss + IDENTITY * distance(g(batch.source, back), batch.source)
    if losses is not Losses.unpaired:
        loss = loss + 100 * distance(fake_y, batch.target) + 100 * distance(fake_x, other.source)
    return loss


def first_batch(site: SiteState) -> Batch:
    return in_float64(site.schedule()[0].make())


@pytest.mark.parametrize("losses", Losses)
def test_the_losses_are_cyclegans(losses: Losses) -> None:
    of = trainer(FedCycle(losses=losses, cycle=CYCLE, identity=IDENTITY))
    site = of.sites["ixi"]
    site.enter(1)
    nets, batch = site.nets.double(), first_batch(site)
    assert not torch.equal(batch.target, cast(Batch, batch.second).target)
    task = str(batch.task)
    (judges, told), (generator, loss) = of.method.objective(nets, batch)
    assert judges == (f"discriminators.{task}", f"discriminators_back.{task}")
    assert generator == "generator"
    torch.testing.assert_close(told, judges_loss(of, nets, batch), rtol=1e-10, atol=0)
    torch.testing.assert_close(loss, generator_loss(of, nets, batch, losses), rtol=1e-10, atol=0)
    flow = torch.autograd.grad(told, list(nets["generator"].parameters()), allow_unused=True)
    assert all(slope is None for slope in flow)


@pytest.mark.parametrize("name", SIZES)
def test_the_swapped_code_is_the_other_tasks(name: str) -> None:
    of = trainer(FedCycle())
    for draw in of.sites[name].feeds[name].train(1, second=True):
        batch = draw.make()
        assert torch.equal(swap(batch), reversed_code(of, batch))
        assert not torch.equal(swap(batch), batch.code)


def test_all_of_a_sites_nets_travel_in_both_directions() -> None:
    of = trainer(FedCycle())
    for site in of.sites.values():
        assert site.held == {path for path, _ in site.nets.named_parameters()}
        assert set(site.nets) == {"generator", "discriminators", "discriminators_back"}
        for kind in ("discriminators", "discriminators_back"):
            assert set(cast(nn.ModuleDict, site.nets[kind])) == {str(task) for task in site.tasks}


def test_without_an_adversary_no_discriminator_moves() -> None:
    of = trainer(FedCycle(adversarial=0.0))
    before = {path: t.clone() for path, t in of.sites["ixi"].tensors.items()}
    of.round(1)
    moved = {path.split(".")[0] for path, t in of.sites["ixi"].tensors.items() if not torch.equal(t, before[path])}
    assert moved == {"generator"}


def test_unpaired_training_never_sees_a_slices_own_pair() -> None:
    """Whatever the true targets of the sources are, and the true sources of the targets."""
    of = trainer(FedCycle(losses=Losses.unpaired, identity=1.0))
    site = of.sites["ixi"]
    site.enter(1)
    batch = site.schedule()[0].make()
    other = cast(Batch, batch.second)
    blind = replace(
        batch,
        target=torch.full_like(batch.target, torch.nan),
        second=replace(other, source=torch.full_like(other.source, torch.nan)),
    )
    for (_, one), (_, same) in zip(
        of.method.objective(site.nets, batch), of.method.objective(site.nets, blind), strict=True
    ):
        assert torch.equal(one, same)


def test_on_a_network_that_ignores_the_code_it_still_trains() -> None:
    assert trainer(FedCycle(), network=resnet(dropout=0.0), rounds=1).run().status in ("done", "diverged")


@pytest.mark.parametrize("option", ["cycle", "identity"])
def test_a_negative_weight_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is -1"):
        FedCycle(**{option: -1})
