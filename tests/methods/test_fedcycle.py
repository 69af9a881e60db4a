"""FedCycle against CycleGAN's equations in plain torch, with one generator for both directions; and what travels."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from support.plain import in_float64, mean, mean_distance, reversed_code, squares_to_one, write
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
        loss = (
            loss
            + CYCLE * mean_distance(g(fake_y, back), batch.source)
            + CYCLE * mean_distance(g(fake_x, there), other.target)
        )
        loss = loss + IDENTITY * mean_distance(g(other.target, there), other.target)
        loss = loss + IDENTITY * mean_distance(g(batch.source, back), batch.source)
    if losses is not Losses.unpaired:
        loss = loss + 100 * mean_distance(fake_y, batch.target) + 100 * mean_distance(fake_x, other.source)
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


class Plain:
    """Copies of a site's nets that train by the losses above, with an Adam each."""

    def __init__(self, of: Trainer, name: str, losses: Losses) -> None:
        self.of, self.site, self.losses = of, of.sites[name], losses
        self.nets = deepcopy(self.site.nets)
        betas = (0.5, 0.999)
        leaves = [self.nets["generator"]]
        for kind in ("discriminators", "discriminators_back"):
            leaves += list(cast(nn.ModuleDict, self.nets[kind]).values())
        self.adams = {id(net): torch.optim.Adam(net.parameters(), of.options.lr, betas, fused=True) for net in leaves}

    def train(self, round: int) -> None:
        for adam in self.adams.values():
            adam.param_groups[0]["lr"] = self.of.options.lr * self.of.options.rate(round)
        for draw in self.site.feeds[self.site.name].train(round, second=True):
            batch = draw.make()
            judges = [self.nets[kind][str(batch.task)] for kind in ("discriminators", "discriminators_back")]
            self.move(judges, judges_loss(self.of, self.nets, batch))
            self.move([self.nets["generator"]], generator_loss(self.of, self.nets, batch, self.losses))

    def move(self, nets: list[nn.Module], loss: Tensor) -> None:
        self.nets.zero_grad()
        loss.backward()
        for net in nets:
            self.adams[id(net)].step()


def test_two_rounds_are_the_papers() -> None:
    of = trainer(FedCycle(cycle=CYCLE, identity=IDENTITY), local_steps=3)
    plain = {name: Plain(of, name, Losses.both) for name in of.sites}
    for round in (1, 2):
        of.round(round)
        for site in plain.values():
            site.train(round)
        owners: dict[str, list[Plain]] = {}
        for site in plain.values():
            for path, _ in site.nets.named_parameters():
                owners.setdefault(path.rsplit(".body.", 1)[0] if "disc" in path else "generator", []).append(site)
        for path, sites in owners.items():
            have = list({id(site): site for site in sites}.values())
            nets = [site.nets.get_submodule(path) for site in have]
            weights = [site.site.samples for site in have]
            write(nets, mean(nets, weights, [name for name, _ in nets[0].named_parameters()]))
    assert len({len({id(s) for s in sites}) for sites in owners.values()}) > 1  # some tasks are of one site alone
    for site in plain.values():
        for path, tensor in site.nets.named_parameters():
            ours = of.plan.model.part(of.server.model, path)
            np.testing.assert_allclose(ours, tensor.detach(), rtol=1e-4, atol=1e-6, err_msg=path)


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
