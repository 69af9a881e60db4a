"""Methods that would train nothing, or keep state where it is lost: their runs end in an error that says what to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from support.federations import trainer
from torch import Tensor, nn

from fedsynth.exchange import ContractError, Message
from fedsynth.feed import Batch
from fedsynth.losses import l1
from fedsynth.method import Method
from fedsynth.methods.fedavg import FedAvg
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer.attributes import Attributes

HOW = r"`yield \(player, loss\)`"


def loss_of(site: SiteState, batch: Batch) -> Tensor:
    return l1(site.nets["generator"](batch.source, batch.code), batch.target)


@dataclass
class MovesByItself(Method):
    """Has an optimiser of its own and yields nothing."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        if not hasattr(self, "adam"):
            self.adam = torch.optim.Adam(site.nets["generator"].parameters(), 1e-3)
        self.adam.zero_grad()
        loss_of(site, batch).backward()
        self.adam.step()
        yield from ()


@dataclass
class TrainsItsJudgesAlone(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        yield next(super().step(site, batch))


@dataclass
class Returns(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        return loss_of(site, batch)


@dataclass
class ReturnsNothing(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        loss_of(site, batch).backward()


@dataclass
class YieldsALoss(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        yield loss_of(site, batch)


@dataclass
class YieldsTheLossFirst(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        yield loss_of(site, batch), "generator"


@dataclass
class YieldsThree(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        yield "generator", loss_of(site, batch), 1.0


@dataclass
class WritesInPlace(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        fake = site.nets["generator"](batch.source, batch.code)
        loss = (fake * fake).mean()
        fake.mul_(2)
        yield "generator", loss


@dataclass
class MovesAParameter(Method):
    def step(self, site: SiteState, batch: Batch) -> Pairs:
        next(site.nets["generator"].parameters()).mul_(2)
        yield "generator", loss_of(site, batch)


@dataclass
class ItsObjectiveReturns(Method):
    def objective(self, nets: Any, batch: Batch) -> Pairs:
        return l1(nets["generator"](batch.source, batch.code), batch.target)


@dataclass
class ItsObjectiveDoesNothing(Method):
    def objective(self, nets: Any, batch: Batch) -> Pairs:
        pass


@dataclass
class ReturnsTheMean(Method):
    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        return server.mean(uploads, "model")


@dataclass
class ServerOfTwoRows(Method):
    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        server.model = torch.stack([message.model for message in uploads.values()])


@dataclass
class ServesOneForAll(Method):
    """Its images fit every target, by broadcasting."""

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        return super().synthesise(site, batch).mean(0, keepdim=True)


@dataclass
class FitsNothing(Method):
    """Trains as it should, and before it serves with a step that yields nothing."""

    def personalise(self, site: SiteState) -> None:
        site.fit(2, lambda site, batch: iter_nothing())


def iter_nothing() -> Pairs:
    yield from ()


@dataclass
class CountsItsUploads(Method):
    counts: dict[str, int] = field(default_factory=dict)

    def upload(self, site: SiteState) -> Message:
        self.counts[site.name] = self.counts.get(site.name, 0) + 1
        return super().upload(site)


class KeepsANet(Method):
    """Has a net on itself, whose weights it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.own = [nn.Linear(1, 1)]

    def upload(self, site: SiteState) -> Message:
        nn.init.zeros_(self.own[0].weight)
        return super().upload(site)


@dataclass
class RemembersWhatItServed(Method):
    """Its attributes change when it is scored on the test split, after the last round."""

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        if batch.source.shape[0] > 2:
            self.served = batch.source
        return super().synthesise(site, batch)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (
            MovesByItself(),
            f"the 3 local steps of site ixi in round 1 yielded no loss, so nothing .* was trained; .*{HOW}",
        ),
        (TrainsItsJudgesAlone(), f".* yielded no loss but the discriminators', so nothing .* was trained; .*{HOW}"),
        (Returns(), f"its step returns a tensor and yields nothing; .*{HOW}"),
        (ReturnsNothing(), f"its step returns nothing and yields nothing; .*{HOW}"),
        (YieldsALoss(), f"its step yields one Tensor, where a player and its loss belong; .*{HOW}"),
        (YieldsTheLossFirst(), f"its step yields a Tensor where a player's name belongs.*{HOW}"),
        (YieldsThree(), f"its step yields 3 things, where a player and its loss belong; .*{HOW}"),
        (WritesInPlace(), f"the loss of generator needs a tensor that was changed in place.*{HOW}"),
        (MovesAParameter(), f"its step changes a parameter in place.*{HOW}"),
        (ItsObjectiveReturns(), f"its step goes through a loss as if it were pairs.*{HOW}"),
        (ItsObjectiveDoesNothing(), f"its step goes through None as if it were pairs.*{HOW}"),
        (ReturnsTheMean(), "aggregate returns a Tensor; set server.model and server.buffers instead"),
        (ServerOfTwoRows(), r"aggregate leaves server.model with shape \(2, \d+\); what travels has shape \(\d+,\)"),
        (
            ServesOneForAll(),
            r"synthesise gives shape \(1, 1, 16, 16\) for a batch whose target has shape \(2, 1, 16, 16\)",
        ),
        (FitsNothing(), rf"site.fit\(2\) at site ixi yielded no loss.*{HOW}"),
        (CountsItsUploads(), "its attributes changed in round 1: counts.*site.memory.*"),
        (KeepsANet(), "its attributes changed in round 1: own"),
        (RemembersWhatItServed(), "its attributes changed when it was scored: served"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Method) else "",
)
def test_what_is_wrong_is_said_by_name(method: Method, text: str) -> None:
    with pytest.raises(ContractError, match=f"method {type(method).__name__}: {text}"):
        trainer(method, sites=("ixi", "midas"), rounds=1).run()


class KeepsItsOptions(Method):
    """Holds what a method may hold: options, and what it made of them once."""

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[str, Any] = {"net": nn.Linear(1, 1), "weights": torch.ones(3), "not a number": float("nan")}


class Counter:
    """A plain object."""

    def __init__(self) -> None:
        self.count, self.itself = 0, self


@pytest.mark.parametrize(
    ("kept", "change"),
    [
        (np.zeros(5000), lambda array: array.__setitem__(2500, 1)),
        (torch.Generator(), lambda stream: torch.rand(1, generator=stream)),
        (np.random.default_rng(0), lambda stream: stream.random()),
        (Counter(), lambda counter: setattr(counter, "count", 1)),
    ],
)
def test_what_changes_in_place_is_noticed(kept: Any, change: Callable[[Any], object]) -> None:
    method = FedAvg()
    vars(method)["kept"] = kept
    attributes = Attributes(method)
    attributes.check_unchanged("at once")
    change(kept)
    with pytest.raises(ContractError, match="its attributes changed in round 1: kept"):
        attributes.check_unchanged("in round 1")


def test_attributes_that_stay_are_no_fault() -> None:
    assert trainer(KeepsItsOptions(), sites=("ixi",), rounds=2, local_steps=1).run().status == "done"
