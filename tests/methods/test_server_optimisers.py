"""FedAvgM, FedAdam, FedYogi, FedAdagrad and FedNova against their papers' formulas in numpy; FedProx against plain torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from support.plain import PlainSite, generator_loss, judge_loss

from fedsynth.method import Method
from fedsynth.methods.fedadagrad import FedAdagrad
from fedsynth.methods.fedadam import FedAdam
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedavgm import FedAvgM
from fedsynth.methods.fedbadam import FedBAdam
from fedsynth.methods.fedbn import FedBN
from fedsynth.methods.fednova import FedNova
from fedsynth.methods.fedprox import FedProx
from fedsynth.methods.fedyogi import FedYogi
from fedsynth.networks.blocks import Norm
from fedsynth.runtime.optimizers.sgd import SGD
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


def adam(v: np.ndarray, d: np.ndarray) -> np.ndarray:
    return 0.99 * v + 0.01 * d**2


def yogi(v: np.ndarray, d: np.ndarray) -> np.ndarray:
    return np.where(v > d**2, v - 0.01 * d**2, np.where(v < d**2, v + 0.01 * d**2, v))


def adagrad(v: np.ndarray, d: np.ndarray) -> np.ndarray:
    return v + d**2


@pytest.mark.parametrize(
    ("method", "beta1", "rule"),
    [(FedAdam(), 0.9, adam), (FedBAdam(), 0.9, adam), (FedYogi(), 0.9, yogi), (FedAdagrad(), 0.0, adagrad)],
)
@pytest.mark.parametrize("participation", [1.0, 0.67])
def test_the_servers_optimiser_is_the_papers(
    method: FedAdam, beta1: float, rule: Callable[[np.ndarray, np.ndarray], np.ndarray], participation: float
) -> None:
    m, v = 0.0, np.float64(1e-6)
    for before, models, slices, after in rounds_of(trainer(method, participation=participation)):
        d = np.average(models, axis=0, weights=slices) - before
        m, v = beta1 * m + (1 - beta1) * d, rule(v, d)
        expected = before + 0.01 * m / (np.sqrt(v) + 1e-3)
        np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(after - before).max() > 1e-4


@pytest.mark.parametrize("norm", Norm)
def test_fedbadam_shares_what_fedbn_does(norm: Norm) -> None:
    ours, theirs, all_of_it = (
        {place.path for layout in (of.plan.model, of.plan.buffers) for place in layout.places}
        for of in (trainer(method, network=resnet(norm=norm)) for method in (FedBAdam(), FedBN(), FedAdam()))
    )
    assert ours == theirs < all_of_it


def test_momentum_at_the_server_is_the_papers() -> None:
    v = np.float64(0.0)
    for before, models, slices, after in rounds_of(trainer(FedAvgM(momentum=0.7))):
        v = 0.7 * v + (before - np.average(models, axis=0, weights=slices))
        np.testing.assert_allclose(after, before - v, rtol=1e-5, atol=1e-7)


def test_without_momentum_it_is_fedavg() -> None:
    for momentum, same in ((0.0, True), (0.5, False)):
        _, models, slices, after = rounds_of(trainer(FedAvgM(momentum=momentum)))[-1]
        assert np.allclose(after, np.average(models, axis=0, weights=slices), rtol=1e-5, atol=1e-6) is same


def test_fednova_with_equal_steps_is_fedavg_to_the_bit() -> None:
    ours, plain = (rounds_of(trainer(method)) for method in (FedNova(), FedAvg()))
    np.testing.assert_array_equal(ours[-1][-1], plain[-1][-1])


def test_fednova_with_unequal_steps_is_the_papers_formula() -> None:
    of = trainer(FedNova(), local_steps=0, local_epochs=1.0)
    steps = [site.steps for site in of.sites.values()]
    assert steps == [2, 5, 3]
    for before, models, slices, after in rounds_of(of):
        p = np.array(slices) / sum(slices)
        updates = [(model - before) / a for model, a in zip(models, steps, strict=True)]
        expected = before + (p @ np.array(steps)) * (p @ np.array(updates))
        np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-7)
        assert np.abs(after - np.average(models, axis=0, weights=slices)).max() > 1e-5


@pytest.mark.parametrize("norm", Norm)
def test_fedprox_without_a_pull_is_fedavg_to_the_bit(norm: Norm) -> None:
    digests = []
    for method in (FedProx(mu=0.0), FedAvg(), FedProx(mu=1.0)):
        digests.append(federations.trainer(method, resnet(norm=norm)).run().digest)
    assert digests[0] == digests[1] != digests[2]


def test_fedprox_steps_by_the_gradient_plus_mu_times_the_distance() -> None:
    """A round of w <- w - lr (gradient + mu (w - w_t)), in plain torch; the first step has no distance yet."""
    mu = 500.0  # the steps are short, larger ones diverge on so small a net
    sgd = {"sites": ("ixi",), "optimizer": SGD(), "lr": 1e-4, "local_steps": 4}
    of = trainer(FedProx(mu=mu), **sgd)
    site = of.sites["ixi"]
    plain = PlainSite(site, of.options)
    anchor = [p.detach().clone() for p in plain.generator.parameters()]
    of.round(1)
    for draw in site.feeds["ixi"].train(1):
        batch = draw.make()
        judge = plain.judges[str(batch.task)]
        for net, loss_of in ((judge, judge_loss), (plain.generator, None)):
            fake = plain.generator(batch.source, batch.code)
            loss = loss_of(judge, batch, fake) if loss_of else generator_loss(judge, batch, fake)
            parameters = list(net.parameters())
            slopes = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for k, (p, slope) in enumerate(zip(parameters, slopes, strict=True)):
                    p.sub_(1e-4 * (slope + (mu * (p - anchor[k]) if net is plain.generator else 0)))
    ours = dict(site.nets["generator"].named_parameters())  # type: ignore[union-attr]  # a module
    for name, parameter in plain.generator.named_parameters():
        np.testing.assert_allclose(ours[name].detach(), parameter.detach(), atol=1e-6, err_msg=name)
    free = trainer(FedAvg(), **sgd)
    free.round(1)
    assert float((free.sites["ixi"].pack() - site.pack()).abs().max()) > 1e-4


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
