"""How the servers of FedCostWAvg and FedPIDAvg weigh, and how far that of FedExP goes. Their three rounds are an oracle's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.federations import trainer, uneven

from fedsynth.evaluation import evaluate
from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import Message
from fedsynth.federation import Conditions
from fedsynth.method import Method
from fedsynth.methods.fedcostwavg import FedCostWAvg, cost
from fedsynth.methods.fedexp import FedExP
from fedsynth.methods.fedpidavg import FedPIDAvg
from fedsynth.trainer import Trainer

# FedCostWAvg and FedPIDAvg


SIZES = {"brats": 2, "ixi": 5, "oasis": 3}  # training subjects of two slices; 0.2, 0.5 and 0.3 of all


def weights(method: FedCostWAvg, costs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The weights in the last of these rounds, of each the costs of the sites that took part."""
    of = trainer(method, sites=uneven(SIZES))
    found: dict[str, float] = {}
    for own in costs:
        uploads = {
            name: Message(model=of.server.model, buffers=of.server.buffers, weight=of.server.samples[name], cost=value)
            for name, value in own.items()
        }
        found = method.weights(of.server, uploads)
        method.aggregate(of.server, uploads)
    assert sum(found.values()) == pytest.approx(1)
    return found


FIRST = {"brats": 4.0, "ixi": 2.0, "oasis": 1.0}


@pytest.mark.parametrize("method", [FedCostWAvg(), FedPIDAvg()])
def test_in_the_first_round_sizes_alone_count(method: FedCostWAvg) -> None:
    assert weights(method, [FIRST]) == pytest.approx({"brats": 0.2, "ixi": 0.5, "oasis": 0.3})


def test_half_of_a_weight_is_old_cost_over_new_cost() -> None:
    found = weights(FedCostWAvg(), [FIRST, {"brats": 2.0, "ixi": 2.0, "oasis": 2.0}])
    falls = {"brats": 2 / 3.5, "ixi": 1 / 3.5, "oasis": 0.5 / 3.5}
    assert found == pytest.approx(
        {"brats": 0.1 + falls["brats"] / 2, "ixi": 0.25 + falls["ixi"] / 2, "oasis": 0.15 + falls["oasis"] / 2}
    )


def test_an_absent_site_keeps_its_cost_and_a_late_one_has_a_ratio_of_1() -> None:
    rounds = [{"brats": 4.0, "ixi": 2.0}, {"ixi": 2.0}, {"brats": 2.0, "ixi": 1.0, "oasis": 7.0}]
    found = weights(FedCostWAvg(alpha=0.0), rounds)
    assert found == pytest.approx({"brats": 2 / 5, "ixi": 2 / 5, "oasis": 1 / 5})


def test_pid_adds_the_falls_and_the_sums_of_six_costs() -> None:
    steady = [{"brats": 10.0, "ixi": 10.0, "oasis": 10.0}, *[{"brats": 4.0, "ixi": 2.0, "oasis": 1.0}] * 6]
    found = weights(FedPIDAvg(), [*steady, {"brats": 3.0, "ixi": 1.5, "oasis": 2.0}])
    falls = {"brats": 1 / 1.5, "ixi": 0.5 / 1.5, "oasis": 0.0}  # where a cost rose, there is no fall
    sums = {"brats": 5 * 4 + 3.0, "ixi": 5 * 2 + 1.5, "oasis": 5 * 1 + 2.0}
    sizes = {"brats": 0.2, "ixi": 0.5, "oasis": 0.3}
    expected = {n: 0.45 * sizes[n] + 0.45 * falls[n] + 0.1 * sums[n] / sum(sums.values()) for n in SIZES}
    assert found == pytest.approx(expected)


def test_where_no_cost_fell_all_falls_are_alike() -> None:
    found = weights(FedPIDAvg(alpha=0.0, gamma=0.0), [FIRST, FIRST])
    assert found == pytest.approx(dict.fromkeys(SIZES, 1 / 3))


def test_the_cost_is_the_mean_l1_of_all_tasks_on_all_training_slices() -> None:
    of = trainer(FedCostWAvg(), sites=uneven(SIZES))
    site = of.sites["ixi"]
    with site.hook("upload"):
        found = cost(site)
    with evaluate.serving(of.method, of.server_party.download(site.name), site), torch.no_grad():
        slices = [feed.batch(task, feed.rows["train"]) for feed in site.feeds.values() for task in feed.tasks]
        losses = [float((site.answer(own) - own.target).abs().mean()) for own in slices]
    assert len(losses) == 2
    assert found == pytest.approx(sum(losses) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FedCostWAvg(alpha=1.5), r"method\.alpha is 1\.5"),
        (lambda: FedPIDAvg(gamma=-0.1), r"method\.gamma is -0\.1"),
        (lambda: FedPIDAvg(gamma=0.6), "from 0 to 0.55"),
    ],
)
def test_an_impossible_share_is_named(make: Callable[[], Method], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


# FedExP, whose step of the server is held to numpy


def moved(epsilon: float, changes: np.ndarray) -> np.ndarray:
    """How the server moves where the sites' models changed so, a row each."""
    of = trainer(FedExP(epsilon=epsilon), sites=uneven(SIZES))
    before = of.server.model.clone()
    uploads = {
        name: Message(
            model=before + torch.from_numpy(row).float(), buffers=of.server.buffers, weight=of.server.samples[name]
        )
        for name, row in zip(SIZES, changes, strict=True)
    }
    of.method.aggregate(of.server, uploads)
    return (of.server.model - before).double().numpy()


def numbers() -> int:
    return trainer(FedExP(), sites=("ixi",)).plan.model.numel


@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_the_server_extrapolates_where_sites_pull_apart(epsilon: float) -> None:
    changes = np.random.default_rng(0).normal(0, 0.05, (3, numbers()))  # nearly orthogonal
    p = np.array([*SIZES.values()]) / sum(SIZES.values())
    mean = p @ changes
    eta = p @ (changes**2).sum(1) / (2 * ((mean**2).sum() + epsilon))
    assert 1.1 < eta < 1.5
    np.testing.assert_allclose(moved(epsilon, changes), eta * mean, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 1e6])
def test_it_never_moves_less_than_fedavg(epsilon: float) -> None:
    alike = np.random.default_rng(0).normal(0, 0.05, numbers()) * np.array([[1.0], [1.1], [0.9]])
    p = np.array([*SIZES.values()]) / sum(SIZES.values())
    np.testing.assert_allclose(moved(epsilon, alike), p @ alike, atol=1e-6)


def served(of: Trainer, name: str) -> torch.Tensor:
    site = of.sites[name]
    site.enter(of.state.round)
    with serving(of.method, of.server_party.download(site.name), site):
        return site.pack()


def test_who_trained_in_the_last_round_serves_the_mean_of_the_last_two_models() -> None:
    of = trainer(FedExP(), sites=uneven(SIZES), rounds=9, validate_every=9, participation=0.67, local_steps=1)
    for round in (1, 2, 3):
        before = of.server.model.clone()
        of.round(round)
        present = of.participants(round)
        assert len(present) == 2
        for name in SIZES:
            both = name in present and round > 1
            torch.testing.assert_close(served(of, name), (before + of.server.model) / 2 if both else of.server.model)


def test_with_starts_of_their_own_sites_serve_models_of_the_server_alone() -> None:
    """In round 1 a site begins with a model that the server never had."""
    of = trainer(FedExP(), sites=uneven(SIZES), rounds=9, validate_every=9, common_start=False, local_steps=1)
    of.round(1)
    first = of.server.model.clone()
    for name in SIZES:
        assert torch.equal(served(of, name), first)
    of.round(2)
    for name in SIZES:
        torch.testing.assert_close(served(of, name), (first + of.server.model) / 2)


def test_who_lost_its_upload_serves_what_others_serve() -> None:
    sites = replace(uneven(SIZES), conditions=Conditions(lose=0.6))
    of = trainer(FedExP(), sites=sites, rounds=9, validate_every=9, local_steps=1)
    of.round(1)
    before = of.server.model.clone()
    of.round(2)
    assert len(of.participants.arrivals(2)) < len(of.participants(2)) == 3
    for name in SIZES:
        torch.testing.assert_close(served(of, name), (before + of.server.model) / 2)


def test_an_impossible_epsilon_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.epsilon is -1"):
        FedExP(epsilon=-1)
