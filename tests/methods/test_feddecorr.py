"""FedDecorr's term against numpy's correlation matrix; without a weight it is FedAvg. The three rounds are an oracle's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.federations import resnet, trainer

from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.feddecorr import FedDecorr, by_pixel, correlation


def test_the_term_is_the_mean_squared_correlation_of_channels() -> None:
    stream = np.random.default_rng(0)
    maps = stream.normal(size=(2, 5, 4, 3)) @ stream.normal(size=(3, 3)) + stream.normal(size=(1, 5, 1, 1))
    maps[:, 1] = 0.8 * maps[:, 0] + 0.2 * maps[:, 1]
    matrix = np.corrcoef(np.moveaxis(maps, 1, 0).reshape(5, -1))
    found = correlation(by_pixel(torch.from_numpy(maps)))
    assert float(found) == pytest.approx((matrix**2).mean(), rel=1e-5)
    assert float(found) > 1.5 / 5  # the diagonal alone has 1/5


def test_constant_channels_have_no_gradient_that_is_not_finite() -> None:
    maps = torch.randn(1, 4, 3, 3)
    maps[:, 0] = 2.0
    maps.requires_grad_()
    correlation(by_pixel(maps)).backward()
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


def test_without_a_weight_it_is_fedavg_to_the_bit_and_with_one_features_decorrelate() -> None:
    ends, terms = [], []
    for method in (FedDecorr(beta=0.0), FedAvg(), FedDecorr(beta=1.0)):
        of = trainer(method, resnet(dropout=0.0), ("ixi",), local_steps=30, rounds=1)
        of.round(1)
        ends.append(of.server.model.clone())
        site = of.sites["ixi"]
        [batch] = site.draw("look", 1)
        seen: list[torch.Tensor] = []
        stages = [module for role, module in site.nets["generator"].stages() if role.name == "bottleneck"]
        handle = stages[-1].register_forward_hook(lambda _, __, maps, seen=seen: seen.append(maps))
        with torch.no_grad():
            site.answer(batch)
        handle.remove()
        terms.append(float(correlation(by_pixel(seen[0]))))
    assert torch.equal(ends[0], ends[1])
    assert terms[2] < terms[1]


def test_an_impossible_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.beta is -1"):
        FedDecorr(beta=-1)
