"""FedGAN against its algorithm in plain torch and numpy: generators averaged over all, discriminators over who has the task."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from support.plain import PlainSite, mean, write

from fedsynth.methods.fedgan import FedGAN

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects; their tasks differ but for T1->T2
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


def test_two_rounds_are_the_papers() -> None:
    of = trainer(FedGAN(), local_steps=5)
    plain = {name: PlainSite(site, of.options) for name, site in of.sites.items()}
    names = [name for name, _ in next(iter(plain.values())).generator.named_parameters()]
    drawn = set()
    for round in (1, 2):
        of.round(round)
        for site in plain.values():
            site.train(round)
        everyone = [site.generator for site in plain.values()]
        write(everyone, mean(everyone, [site.samples for site in plain.values()], names))
        for task in {task for site in plain.values() for task in site.judges}:
            have = [site for site in plain.values() if task in site.judges]
            judges = [site.judges[task] for site in have]
            write(judges, mean(judges, [site.samples for site in have], [n for n, _ in judges[0].named_parameters()]))
            drawn.add((task, len(have)))
    assert {count for _, count in drawn} == {1, 3}
    tensors = {}
    for site in plain.values():
        tensors |= {f"generator.{name}": p for name, p in site.generator.named_parameters()}
        tensors |= {f"discriminators.{name}": p for name, p in site.judges.named_parameters()}
    assert of.plan.model.offsets.keys() == tensors.keys()
    for path, tensor in tensors.items():
        np.testing.assert_allclose(of.plan.model.part(of.server.model, path), tensor.detach(), rtol=1e-5, atol=1e-7)


def test_a_discriminator_that_nobody_present_has_stays_as_it_was() -> None:
    of = trainer(FedGAN(), participation=0.34, rounds=9)
    for round in range(1, 6):
        [present] = of.participants(round)
        before = of.server.model
        of.round(round)
        own = {str(task) for task in of.sites[present].tasks}
        for place in of.plan.model.places:
            if place.task is not None and place.task not in own:
                one, other = (of.plan.model.part(v, place.path) for v in (before, of.server.model))
                assert torch.equal(one, other), place.path
        held = [path for path in of.plan.model.offsets if path in of.sites[present].held]
        for path in held:  # one site alone: its own, to the bit
            assert torch.equal(of.plan.model.part(of.server.model, path), of.sites[present].tensors[path])


@pytest.mark.parametrize("name", SIZES)
def test_all_of_a_sites_nets_travel(name: str) -> None:
    site = trainer(FedGAN()).sites[name]
    assert site.held == {path for path, _ in site.nets.named_parameters()}
