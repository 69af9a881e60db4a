"""Optimisers, schedules and losses: their equations worked in numpy or by hand, who may be one, and what a plug-in is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from support.federations import trainer
from torch import Tensor, nn

from fedsynth.losses import l1, lsgan
from fedsynth.method import Method
from fedsynth.registry import OPTIMIZERS, SCHEDULES
from fedsynth.runtime.optimizers.adam import Adam
from fedsynth.runtime.optimizers.adamw import AdamW
from fedsynth.runtime.optimizers.optimizer import Optimizer
from fedsynth.runtime.optimizers.sgd import SGD

START = np.array([1.0, -2.0, 0.5])
SLOPES = [np.array([0.5, -0.25, 0.0]), np.array([-1.0, 0.5, 2.0]), np.array([0.25, 0.0, -0.5])]
LR = 0.1


def moved(optimizer: Optimizer) -> np.ndarray:
    """Where three steps by SLOPES lead from START."""
    weights = nn.Parameter(torch.tensor(START, dtype=torch.float64))
    made = optimizer.make([weights], LR)
    for slope in SLOPES:
        weights.grad = torch.tensor(slope)
        made.step()
    return weights.detach().numpy()


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.3), (0.9, 0.3)])
def test_sgd_with_momentum_and_weight_decay(momentum: float, decay: float) -> None:
    weights, velocity = START, np.zeros(3)
    for slope in SLOPES:
        velocity = momentum * velocity + slope + decay * weights
        weights = weights - LR * velocity
    np.testing.assert_allclose(moved(SGD(momentum, decay)), weights, rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adam_and_adamw(decay: float) -> None:
    weights, first, second = START, np.zeros(3), np.zeros(3)
    for t, slope in enumerate(SLOPES, 1):
        weights = weights - LR * decay * weights
        first, second = 0.5 * first + 0.5 * slope, 0.9 * second + 0.1 * slope**2
        weights = weights - LR * (first / (1 - 0.5**t)) / (np.sqrt(second / (1 - 0.9**t)) + 1e-8)
    made = AdamW([0.5, 0.9], decay) if decay else Adam([0.5, 0.9])
    np.testing.assert_allclose(moved(made), weights, rtol=1e-12)


def test_the_published_optimiser_is_the_default() -> None:
    assert OPTIMIZERS.entries().keys() == {"adam", "adamw", "sgd"}
    assert Adam().make([nn.Parameter(torch.ones(1))], LR).defaults["betas"] == (0.5, 0.999)


@pytest.mark.parametrize("name", OPTIMIZERS.entries())
def test_a_registered_optimiser_keeps_its_rules(name: str) -> None:
    OPTIMIZERS[name]().check()


class Plug(Optimizer):
    """Whatever torch class is given."""

    def __init__(self, make: Callable[..., torch.optim.Optimizer]) -> None:
        self._make = make

    def make(self, parameters: list[Any], lr: float | Tensor) -> torch.optim.Optimizer:
        return self._make(parameters, lr)


def test_a_state_that_does_not_begin_as_zeros_is_refused_before_training() -> None:
    Plug(torch.optim.RMSprop).check()
    with pytest.raises(ValueError, match=r"its state \(.*mu_product.*\) does not begin as zeros"):
        trainer(Method(), optimizer=Plug(torch.optim.NAdam))


def test_a_state_that_is_no_tensor_is_refused() -> None:
    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter]["count"] = 1
            return super().step(closure)

    with pytest.raises(ValueError, match="its state 'count' is 1; it must be a tensor"):
        Plug(Counting).check()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(momentum=1.0), "optimizer.momentum is 1.0"),
        (lambda: SGD(weight_decay=-1.0), "optimizer.weight_decay is -1.0"),
        (lambda: AdamW(weight_decay=float("nan")), "optimizer.weight_decay is nan"),
        (lambda: Adam([0.5]), r"optimizer.betas is \[0.5\]"),
    ],
)
def test_options_out_of_range_are_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_momentum_stays_at_the_site_from_round_to_round() -> None:
    """Two rounds of one step with momentum are another model than with a fresh optimiser, and two sites do not share it."""

    @dataclass
    class Slope(Method):
        """Its gradient by every weight is 1."""

        adversarial: float = 0.0

        def objective(self, nets: Any, batch: Any) -> Any:
            yield "generator", sum(p.sum() for p in nets["generator"].parameters())

    of = trainer(Slope(), sites=("ixi", "oasis"), optimizer=SGD(momentum=0.5), lr=0.1, local_steps=1, resident=1)
    before = of.server.model.clone()
    for round in (1, 2):
        of.round(round)
    rates = [0.1 * of.options.rate(round) for round in (1, 2)]
    expected = before - rates[0] * 1 - rates[1] * 1.5
    torch.testing.assert_close(of.server.model, expected)


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 1, 2 / 3, 1 / 3]),
        ("released", [1, 2 / 3, 1 / 3, 0]),
        ("cosine", [1, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2]),
    ],
)
def test_a_schedule_multiplies_the_rate(name: str, factors: list[float]) -> None:
    assert SCHEDULES.entries().keys() == {"constant", "cosine", "linear", "released"}
    of = trainer(Method(), rounds=4, schedule=SCHEDULES[name](), lr=0.5, local_steps=1)
    for round in range(1, 5):
        of.sites["ixi"].enter(round)
        rates = {float(group["lr"]) for made in of.sites["ixi"].optimizers.values() for group in made.param_groups}
        assert [*rates, of.sites["ixi"].lr] == pytest.approx([0.5 * factors[round - 1]] * 2)


def test_the_losses_by_hand() -> None:
    scores = torch.tensor([[0.5, -1.0], [2.0, 1.0]])
    assert lsgan(scores, True).item() == pytest.approx((0.25 + 4 + 1 + 0) / 4)
    assert lsgan(scores, False).item() == pytest.approx((0.25 + 1 + 4 + 1) / 4)
    assert l1(scores, torch.zeros(2, 2)).item() == pytest.approx(4.5 / 4)
