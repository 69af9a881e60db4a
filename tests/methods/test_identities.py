"""What must be equal to the last bit, and what must not be, for every registered method.

That scoring touches nothing and the order of sites does not matter, `fedsynth check` holds (test_check.py). A method whose
rule breaks an identity by definition is listed with the reason; where it breaks it always, it must.
"""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from support import federations
from support.federations import federation
from support.probes import facts
from torch import Tensor

from fedsynth import streams
from fedsynth.benchmarks.contract.toy import small
from fedsynth.exchange import Message, places
from fedsynth.federation import Federation, Task
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Network
from fedsynth.registry import METHODS, NETWORKS
from fedsynth.runtime import checkpoint
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

SITES = ("brats", "ixi", "oasis")
NAMES = list(METHODS.entries())

POOLED = [name for name in NAMES if issubclass(METHODS[name], METHODS["pooled"])]
ALONE_DIFFERS: dict[str, str] = {
    "fedprox": "a site is pulled to where its round began",
    "fedavgm": "the server's momentum goes on",
    "fedadam": "the server takes steps of its own size",
    "fedyogi": "as fedadam",
    "fedbadam": "as fedadam",
    "fedsam": "moves by the gradient at the edge of a ball",
    "feddecorr": "its features are to be uncorrelated",
    "fedadagrad": "as fedadam",
    "apfl": "dropout draws other noise for the federated generator, which trains after the personal one",
    "ditto": "dropout draws other noise for the federated generator, which trains after the personal one",
    "fedcycle": "CycleGAN's losses",
    "fedamp": "is pulled towards what it uploaded last",
    "feddyn": "the server adds the mean of the sites' h, its own",
    "fedmed": "CycleGAN's losses",
    "fedmm": "MM-GAN's losses",
    "fedrep": "trains the head alone, then the body alone",
    "fedbabu": "its head never trains",
    "perfedavg": "moves by the gradient one step ahead, every second step",
    "ifca": "may choose another of its several starts",
    "pfedme": "follows its personal model at a distance",
    "prrfl": "the deputy learns from the personal model too",
}
ROUNDED = {"fedmri"}  # its contrast is then a constant, whose gradient is 0 but for rounding
TWINS_DIFFER: dict[str, str] = {
    "fedfomo": "undoes a round that made it worse, which a site with no other to compare with does not",
    "flmrcm": "the second aligns its features with the first's of the round before",
    **dict.fromkeys(POOLED, "takes the steps of both sites"),
}
MAY_MIX: dict[str, str] = {
    "fedala": "a site starts from its own mixture of what it had and what it received",
    "fedamp": "what a site is sent is not loaded, but pulls its model",
    "fedfomo": "a site mixes the models that it is sent",
    "ifca": "a site is sent the model of the group that it chose",
    "prrfl": "a site's deputy keeps its phases and its high frequencies",
}
COPIES: dict[str, str] = {
    "moon": "global.",  # a frozen copy of what the site received
}


@pytest.fixture(autouse=True)
def _few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsynth.methods.fedala.MOST_PASSES", 1)  # of learning its weights; 30 otherwise


def network(name: str, norm: Norm = Norm.instance) -> Network:
    made = small(NETWORKS[METHODS[name].default_network()])
    made.norm = METHODS[name].needs_norm or norm
    return made


def trainer(name: str, sites: tuple[str, ...] | Federation = SITES, on: Network | None = None, **given: Any) -> Trainer:
    usual: dict[str, Any] = {"rounds": 9, "local_steps": 2, "zoom": 1.1, "validate_every": 9, "checkpoint_every": 9}
    return federations.trainer(METHODS[name](), on or network(name), sites, **(usual | given))


def trained(name: str, *args: Any, rounds: int = 3, **given: Any) -> Trainer:
    """A trainer after some of its rounds, which neither validates nor writes."""
    of = trainer(name, *args, **given)
    for round in range(1, rounds + 1):
        of.round(round)
    return of


def nets_of(site: SiteState) -> dict[str, Tensor]:
    """The generator and the discriminators that train on the site's own objective."""
    named = (*site.nets.named_parameters(), *site.nets.named_buffers())
    return {path: t.detach().clone() for path, t in named if path.startswith(("generator.", "discriminators."))}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[path], other[path]) for path in one)


def staying(of: Trainer, site: SiteState) -> dict[str, Tensor]:
    moving = {place.path for layout in (of.plan.model, of.plan.buffers) for place in layout.places}
    return {place.path: tensor for place, tensor in places(site.nets) if place.path not in moving}


# --- when federation changes nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_site_alone_is_local_training(name: str) -> None:
    ours, plain = trained(name, ("ixi",)), locally(METHODS[name].default_network(), METHODS[name].needs_norm)
    assert name in ROUNDED or equal(nets_of(ours.sites["ixi"]), plain) is (name not in ALONE_DIFFERS)


@cache
def locally(published: str, norm: Norm | None) -> dict[str, Tensor]:
    return nets_of(trained("local", ("ixi",), small(NETWORKS[published], norm)).sites["ixi"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_averaging_twins_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sites with the same data, streams and code: each trains as it would alone."""
    one_site = federation(("ixi",))
    ixi, tasks = one_site.sites["ixi"], one_site.tasks["ixi"]
    sites = {"ixi": ixi, "twin": replace(ixi, name="twin")}
    alone = Federation(sites, {"ixi": tasks}, newcomers={"twin": tasks})  # as many columns of the code as the twins
    twins = Federation(sites, {"ixi": tasks, "twin": tasks})
    key, code = streams.key, Federation.code
    monkeypatch.setattr(streams, "key", lambda *names: key(*("ixi" if n == "twin" else n for n in names)))
    monkeypatch.setattr(Federation, "code", lambda self, site, task: code(self, "ixi", task))
    one, both = trained(name, alone), trained(name, twins)
    if name in TWINS_DIFFER:
        assert not all(equal(nets_of(site), nets_of(one.sites["ixi"])) for site in both.sites.values())
        return
    for site in both.sites.values():
        assert name in ROUNDED or equal(nets_of(site), nets_of(one.sites["ixi"])), site.name
    torch.testing.assert_close(both.server.model, one.server.model, rtol=0, atol=1e-5 if name in ROUNDED else 0)


# --- what travels and what stays -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_stays_never_reaches_the_server(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = trainer(name, on=network(name, Norm.batch), local_steps=1)
    upload = of.method.upload
    poisoned = []

    def from_poisoned(site: SiteState) -> Message:
        with site.preserved(), torch.no_grad():
            for tensor in staying(of, site).values():
                poisoned.append(tensor.fill_(torch.nan))
            return upload(site)

    monkeypatch.setattr(of.method, "upload", from_poisoned)
    of.round(1)
    of.round(2)
    assert poisoned or name in ("fedcycle", "fedgan")  # which share every floating tensor
    for value in (of.server.model, of.server.buffers, *of.server.memory.values()):
        assert not isinstance(value, Tensor) or torch.isfinite(value.double()).all()
    assert not of.state.diverged


@pytest.mark.parametrize("name", NAMES)
def test_what_travels_is_equal_and_what_stays_differs(name: str) -> None:
    of = trained(name, on=network(name, Norm.batch), rounds=2)
    sites = list(of.sites.values())
    for site in sites:
        message = of.method.download(of.server, site.name).delivered()
        site.received = message.model
        with site.hook("receive"):
            of.method.receive(site, message)
    common = set.intersection(*(set(site.held) for site in sites))
    start = trainer(name, on=network(name, Norm.batch)).sites[sites[0].name].tensors
    moved: list[bool] = []
    for one, other in pairwise(sites):
        tensors, others = one.tensors, other.tensors
        differ = [path for path in common if not torch.equal(tensors[path], others[path])]
        assert differ == [] or name in MAY_MIX
        stays, theirs = staying(of, one), staying(of, other)
        for path in stays.keys() & theirs.keys():
            # a hidden unit of a narrow gate may never have been active, a task never drawn
            idle = torch.equal(stays[path], start[path]) and torch.equal(theirs[path], start[path])
            copied = path.startswith(COPIES.get(name, "none"))
            assert torch.equal(stays[path], theirs[path]) is (idle or copied), path
            moved.append(not idle)
    assert sum(moved) * 2 >= len(moved)
    assert name != "local" or common == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_what_travelled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = trainer(name, validate_every=9, local_steps=1)
    counts = {direction: dict.fromkeys(of.sites, 0) for direction in ("up", "down")}

    def count(direction: str, site: str, message: Message) -> Message:
        tensors = dict(of.sites[site].nets.named_parameters()) | dict(of.sites[site].nets.named_buffers())
        owned = sum(tensors[path].numel() for path in of.plan.model.offsets if path in tensors)
        for value in message.values():
            if isinstance(value, Tensor):
                copies, rest = divmod(value.numel(), of.plan.model.numel or 1)
                numel = copies * owned if not rest and of.plan.model.numel else value.numel()
                counts[direction][site] += numel * value.element_size()
        return message

    upload, download = of.method.upload, of.method.download
    monkeypatch.setattr(of.method, "upload", lambda site: count("up", site.name, upload(site)))
    monkeypatch.setattr(of.method, "download", lambda server, site: count("down", site, download(server, site)))
    of.round(1)
    for row in of.state.curve:
        assert (row["bytes_up"], row["bytes_down"]) == (counts["up"][row["site"]], counts["down"][row["site"]])
    assert of.state.costs.bytes_up == sum(counts["up"].values())
    assert of.state.costs.bytes_down == sum(counts["down"].values())
    assert (of.state.costs.bytes_up == 0) is (name == "local" or name in POOLED)


# --- who is there, and in which order --------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["resnet", "unet"])
def test_local_training_does_not_notice_who_else_is_there(on: str) -> None:
    runs = [trainer("local", sites, small(NETWORKS[on])) for sites in (("ixi",), SITES, ("ixi", "midas"))]
    scores = [[row for row in run.run().scores if row["site"] == "ixi"] for run in runs]
    assert scores[0] == scores[1] == scores[2]
    again = [trained("local", sites, small(NETWORKS[on])) for sites in (("ixi",), SITES)]
    assert equal(*(nets_of(of.sites["ixi"]) for of in again))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_who_is_absent_is_left_as_it_was(name: str) -> None:
    of = trainer(name, participation=0.5, rounds=9, validate_every=9, local_steps=1)
    everyone, present = set(of.sites), set()
    for round in range(1, 6):
        there = set(of.participants(round))
        assert of.participants(round) == sorted(there)
        assert len(there) == max(1, int(0.5 * len(everyone) + 0.5))
        before = {site: state_of(of.sites[site]) for site in everyone - there}
        of.round(round)
        assert {site: state_of(of.sites[site]) for site in before} == before
        present |= there
    assert present == everyone
    assert of.state.diverged == ""


def state_of(site: SiteState) -> str:
    return checkpoint.tree_digest({"weights": site.slot.weights(), "optimizers": site.slot.optimizer_state()})


def test_another_site_changes_nobodys_turn_to_be_drawn() -> None:
    few, more = (trainer("local", sites, participation=0.5) for sites in (SITES, (*SITES, "midas")))
    for round in range(1, 20):
        assert set(more.participants(round)) - {"midas"} <= set(few.participants(round))


# --- randomness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fedavg", "fedmm"])  # `fedsynth check` tells of every method what it draws from
def test_what_ran_before_changes_nothing_and_nothing_is_left_behind(name: str) -> None:
    expected = facts(trainer(name).run())
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002  # the global stream is what this test is about
    random.seed(7)
    states = [torch.get_rng_state(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002  # as above
    of = trainer(name)
    before = deepcopy(vars(of.method))
    assert facts(of.run()) == expected
    assert torch.equal(torch.get_rng_state(), states[0])
    assert [str(np.random.get_state()), random.getstate()] == states[1:]  # noqa: NPY002  # as above
    assert vars(of.method) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_everyone_begins_with_the_same_weights(name: str) -> None:
    of, plain = trainer(name), trainer("fedavg", on=network(name))
    expected = nets_of(plain.sites["brats"]) | nets_of(plain.sites["ixi"]) | nets_of(plain.sites["oasis"])
    first: dict[str, Tensor] = {}
    for site in of.sites.values():
        for path, tensor in nets_of(site).items():
            assert torch.equal(tensor, expected[path]), path
        for path, tensor in site.tensors.items():  # a method's own nets too
            assert torch.equal(tensor, first.setdefault(path, tensor)), path
        filled = of.plan.model.pack(site.tensors, of.server.model)
        assert torch.equal(filled, of.server.model)


def test_seeds_begin_with_other_weights() -> None:
    starts = [trainer("fedavg", seed=seed).server.model for seed in (0, 1)]
    assert not torch.equal(*starts)


def test_a_discriminator_starts_the_same_whatever_other_tasks_there_are() -> None:
    few, many = trainer("fedavg", ("ixi",)), trainer("fedavg", SITES)
    task = str(Task("T2", "PD"))
    one, other = (nets_of(of.sites["ixi"]) for of in (few, many))
    assert all(torch.equal(one[path], other[path]) for path in one if task in path)
