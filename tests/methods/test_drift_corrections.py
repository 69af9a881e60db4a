"""Methods that correct the drift of sites by what they remember of it: SCAFFOLD's controls, and FedDyn, on quadratics too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from torch import Tensor, nn

from fedsynth.federation import Columns
from fedsynth.feed import Batch
from fedsynth.method import Method, Nets
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.feddyn import FedDyn
from fedsynth.methods.scaffold import SCAFFOLD
from fedsynth.networks.network import Generator, Network, Role, Stage
from fedsynth.runtime.optimizers.sgd import SGD
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects
DESCENT = {"optimizer": SGD(), "lr": 5e-5}  # larger steps diverge on so small a net, and rounding with them
PARTIAL = {"rounds": 6, "participation": 0.67}  # two of three
trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


def trained_in_round_2(of: Trainer) -> SiteState:
    """ixi, which has trained and has not yet uploaded."""
    site = of.sites["ixi"]
    site.enter(2)
    message = of.method.download(of.server, "ixi").delivered()
    site.received = message.model
    of.method.receive(site, message)
    for _ in site.train({}):
        pass
    return site


# SCAFFOLD


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_the_mean_gradient_is_option_2_under_sgd(clip: float) -> None:
    of = trainer(SCAFFOLD(), **DESCENT, **PARTIAL, clip=clip)
    for round in range(1, 4):
        x, present = of.server.model, of.participants(round)
        c = of.server.memory.get("control", torch.zeros_like(x)).clone()
        own = {name: of.sites[name].memory.get("control", torch.zeros_like(x)).clone() for name in present}
        of.round(round)
        for name in present:
            site = of.sites[name]
            expected = own[name] - c + (x - site.pack()) / (site.steps * site.lr)
            np.testing.assert_allclose(site.memory.tensor("control"), expected, atol=2e-3)


def test_the_first_round_is_fedavgs_to_the_bit() -> None:
    ours, plain = (trainer(method, network=resnet(), local_steps=5) for method in (SCAFFOLD(), FedAvg()))
    for of in (ours, plain):
        of.round(1)
    assert torch.equal(ours.server.model, plain.server.model)
    for name, site in ours.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, plain.sites[name].tensors[path]), path
    for of in (ours, plain):
        of.round(2)
    assert not torch.equal(ours.server.model, plain.server.model)


def test_the_servers_control_is_the_mean_of_the_sites_whoever_is_absent() -> None:
    of = trainer(SCAFFOLD(), **PARTIAL)
    for round in range(1, 6):
        of.round(round)
        zero = torch.zeros_like(of.server.model)
        controls = torch.stack([site.memory.get("control", zero) for site in of.sites.values()])
        np.testing.assert_allclose(of.server.memory.tensor("control"), controls.mean(0), rtol=1e-4, atol=2e-6)


def test_a_control_changes_when_it_is_delivered_and_not_before() -> None:
    of = trainer(SCAFFOLD())
    of.round(1)
    before = of.sites["ixi"].memory.tensor("control").clone()
    site = trained_in_round_2(of)
    assert torch.equal(site.memory.tensor("control"), before)
    upload = of.method.upload(site)
    np.testing.assert_allclose(site.memory.tensor("control"), before + upload.tensor("change"), rtol=1e-4, atol=1e-4)
    assert not torch.equal(site.memory.tensor("control"), before)


def test_model_and_control_travel_both_ways() -> None:
    of = trainer(SCAFFOLD())
    of.round(1)
    for row in of.state.curve:
        assert row["bytes_up"] == row["bytes_down"] == 2 * 4 * of.plan.model.numel


# FedDyn


CURVATURES = {"brats": (1.0, 4.0), "ixi": (2.0, 1.0), "midas": (4.0, 2.0)}
CENTRES = {"brats": (3.0, -1.0), "ixi": (-2.0, 2.0), "midas": (1.0, 5.0)}
WEIGHTS = np.array(list(SIZES.values())) / sum(SIZES.values())


class Point(Generator):
    """Two numbers: the weight and the bias of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(1, 1, 1)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        image: Tensor = self.only(source)
        return image

    def stages(self) -> list[Stage]:
        return [Stage(Role.head, self.only)]


@dataclass
class PointNetwork(Network):
    def generator(self, columns: Columns) -> Generator:
        return Point()


def bowl(nets: Nets, batch: Batch) -> Pairs:
    """The site's own quadratic instead of the task's losses."""
    gaps = torch.cat([p.flatten() for p in nets["generator"].parameters()]) - torch.tensor(CENTRES[batch.site])
    yield "generator", (torch.tensor(CURVATURES[batch.site]) * gaps.square()).sum() / 2


@dataclass
class DynBowls(FedDyn):
    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        yield from bowl(nets, batch)


@dataclass
class AvgBowls(FedAvg):
    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        yield from bowl(nets, batch)


def bowls(method: Method, participation: float = 1.0) -> Trainer:
    """Local training that all but reaches the local minimum."""
    quiet = {"rounds": 999, "validate_every": 999, "checkpoint_every": 999}
    sgd = {"optimizer": SGD(), "lr": 0.2, "local_steps": 30}
    return trainer(method, network=PointNetwork(discriminator_width=1), participation=participation, **quiet, **sgd)


OPTIMUM = np.divide(
    sum(w * np.multiply(CURVATURES[s], CENTRES[s]) for w, s in zip(WEIGHTS, SIZES, strict=True)),
    sum(w * np.array(CURVATURES[s]) for w, s in zip(WEIGHTS, SIZES, strict=True)),
)


@pytest.mark.slow
@pytest.mark.parametrize("participation", [1.0, 0.67])
def test_on_quadratics_it_is_the_closed_form_and_ends_at_the_global_minimum(participation: float) -> None:
    of = bowls(DynBowls(alpha=1.0), participation)
    w = of.server.model.double().numpy()
    h = {name: np.zeros(2) for name in SIZES}
    for round in range(1, 31):
        of.round(round)
        local = {}
        for name in of.participants(round):
            alpha = 1.0 / (WEIGHTS[list(SIZES).index(name)] * len(SIZES))
            a, b = np.array(CURVATURES[name]), np.array(CENTRES[name])
            local[name] = (a * b + alpha * (w - h[name])) / (
                a + alpha
            )  # where the loss and its two terms have no slope
            h[name] = h[name] + local[name] - w
            np.testing.assert_allclose(of.sites[name].memory.tensor("h"), h[name], atol=2e-3)
            np.testing.assert_allclose(-alpha * h[name], a * (local[name] - b), atol=1e-9)  # the slope of the loss
        w = np.mean(list(local.values()), axis=0) + np.mean(list(h.values()), axis=0)
        np.testing.assert_allclose(of.server.model, w, atol=2e-3)
        np.testing.assert_allclose(of.server.memory.tensor("h"), np.mean(list(h.values()), axis=0), atol=2e-3)
    np.testing.assert_allclose(w, OPTIMUM, atol=1e-3 if participation == 1 else 0.05)
    np.testing.assert_allclose(of.server.model, OPTIMUM, atol=3e-3 if participation == 1 else 0.05)


def test_fedavg_ends_elsewhere() -> None:
    of = bowls(AvgBowls())
    for round in range(1, 4):
        of.round(round)
    assert float((of.server.model - torch.tensor(OPTIMUM)).abs().max()) > 0.2


def test_a_site_uploads_its_change_once_and_when_it_is_delivered() -> None:
    of = trainer(FedDyn())
    of.round(1)
    before = of.sites["ixi"].memory.tensor("h").clone()
    site = trained_in_round_2(of)
    assert torch.equal(site.memory.tensor("h"), before)
    of.method.upload(site)
    assert not torch.equal(site.memory.tensor("h"), before)
    for row in of.state.curve:
        assert row["bytes_up"] == row["bytes_down"] == 4 * of.plan.model.numel


def test_the_first_local_step_is_fedavgs_to_the_bit() -> None:
    """With nothing remembered and nothing moved the two terms have no slope; what the server makes of it differs."""
    ours, plain = (trainer(method, network=resnet(), local_steps=1) for method in (FedDyn(), FedAvg()))
    for of in (ours, plain):
        of.round(1)
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[path]), path
    assert not torch.equal(ours.server.model, plain.server.model)


def test_alpha_is_positive() -> None:
    with pytest.raises(ValueError, match=r"method.alpha is 0.0; it must be above 0"):
        FedDyn(alpha=0.0)
