"""Where the servers' rules and FedProx are FedAvg to the bit, and which options they refuse."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from support import federations
from support.federations import resnet, uneven

from fedsynth.method import Method
from fedsynth.methods.fedadam import FedAdam
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedavgm import FedAvgM
from fedsynth.methods.fednova import FedNova
from fedsynth.methods.fedprox import FedProx
from fedsynth.methods.fedyogi import FedYogi
from fedsynth.networks.blocks import Norm
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5, "oasis": 3}  # training subjects of two slices
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES), rounds=4)


def rounds_of(of: Trainer, count: int = 3) -> list[tuple[np.ndarray, list[np.ndarray], list[int], np.ndarray]]:
    """The server's model before a round, the models and slices of those who took part, and the server's model after it."""
    found = []
    for round in range(1, count + 1):
        before = of.server.model.double().numpy().copy()
        of.round(round)
        present = [of.sites[name] for name in of.participants(round)]
        models = [site.pack().double().numpy() for site in present]
        found.append((before, models, [site.samples for site in present], of.server.model.double().numpy().copy()))
    return found


def test_without_momentum_it_is_fedavg() -> None:
    for momentum, same in ((0.0, True), (0.5, False)):
        _, models, slices, after = rounds_of(trainer(FedAvgM(momentum=momentum)))[-1]
        assert np.allclose(after, np.average(models, axis=0, weights=slices), rtol=1e-5, atol=1e-6) is same


def test_fednova_with_equal_steps_is_fedavg_to_the_bit() -> None:
    ours, plain = (rounds_of(trainer(method)) for method in (FedNova(), FedAvg()))
    np.testing.assert_array_equal(ours[-1][-1], plain[-1][-1])


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_fedprox_without_a_pull_is_fedavg_to_the_bit(norm: Norm) -> None:
    digests = []
    for method in (FedProx(mu=0.0), FedAvg(), FedProx(mu=1.0)):
        digests.append(federations.trainer(method, resnet(norm=norm)).run().digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FedProx(mu=-1), r"method\.mu is -1"),
        (lambda: FedAvgM(momentum=1), r"method\.momentum is 1"),
        (lambda: FedAdam(beta2=1.5), r"method\.beta2 is 1\.5"),
        (lambda: FedYogi(tau=0), r"method\.tau is 0"),
    ],
)
def test_an_impossible_option_is_named(make: Callable[[], Method], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
