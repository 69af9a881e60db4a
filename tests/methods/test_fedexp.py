"""FedExP's step of the server on changes made by hand, in numpy; what a site serves. The three rounds are an oracle's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.federations import trainer, uneven

from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import Message
from fedsynth.federation import Conditions
from fedsynth.methods.fedexp import FedExP
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5, "oasis": 3}  # training subjects of two slices


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
    with serving(of.method, of.server, site):
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


def test_an_impossible_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.epsilon is -1"):
        FedExP(epsilon=-1)
