"""What FedGAN fulfils besides its equations: whose discriminators travel, and which stay as they were."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support import federations
from support.federations import resnet, uneven

from fedsynth.methods.fedgan import FedGAN

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects; their tasks differ but for T1->T2
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


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
