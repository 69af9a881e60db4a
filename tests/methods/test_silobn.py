"""The running statistics of a site that SiloBN has never trained, and the networks that it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from torch import Tensor, nn

from fedsynth.exchange import ContractError
from fedsynth.methods.silobn import SiloBN
from fedsynth.networks.blocks import Norm
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 4}  # training subjects


def trainer(norm: Norm = Norm.batch, **given: Any) -> Trainer:
    return federations.trainer(SiloBN(), resnet(dropout=0.0, norm=norm, blocks=1), uneven(SIZES), **given)


def close(ours: Tensor, expected: Tensor | np.ndarray, name: str) -> None:
    np.testing.assert_allclose(ours.detach(), expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_site_that_never_trained_takes_its_own_statistics_and_others_keep_theirs() -> None:
    of = trainer(participation=0.5)
    [present] = of.participants(1)
    [absent] = set(of.sites) - {present}
    of.round(1)
    for name in (present, absent):
        site = of.sites[name]
        with site.preserved(), site.hook("serve"):
            of.method.receive(site, of.method.download(of.server, name).delivered())
            model, before = site.pack(), site.tensors["generator.backbone.0.2.running_mean"].clone()
            of.method.personalise(site)
            assert torch.equal(site.pack(), model)
            norm = site.nets.get_submodule("generator.backbone.0.2")
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            if name == present:
                assert torch.equal(norm.running_mean, before)
                continue
            means, variances = torch.zeros_like(before), torch.ones_like(before)
            for batch in site.draw("statistics", 64):
                padded = nn.functional.pad(batch.source, (3, 3, 3, 3), mode="reflect")
                maps = nn.functional.conv2d(padded, site.tensors["generator.backbone.0.1.weight"])
                means = 0.9 * means + 0.1 * maps.detach().mean((0, 2, 3))
                variances = 0.9 * variances + 0.1 * maps.detach().transpose(0, 1).flatten(1).var(1)
            close(norm.running_mean, means, "mean")
            close(norm.running_var, variances, "variance")


def test_without_running_statistics_it_is_refused_and_the_remedy_named() -> None:
    with pytest.raises(ContractError, match=r"generator of the network ResNet has none; set network\.norm=batch"):
        trainer(Norm.instance)
