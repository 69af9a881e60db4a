"""Where a tensor lies in a network, what a method lets travel by that, and that names play no part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.federations import PlainNetwork, personalised, resnet, trainer
from torch import Tensor, nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.exchange import ContractError, Place, Plan, places
from fedsynth.federation import Columns, Task
from fedsynth.method import Blueprint, Method
from fedsynth.methods.fedbn import FedBN
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.networks.conditioning import Mapper, PersonalBlock
from fedsynth.networks.network import Generator, Network, Norm, Role, Stage
from fedsynth.networks.unet import UNet
from fedsynth.registry import METHODS, NETWORKS

TASKS = (Task("T1", "T2"), Task("T2", "PD"))
COLUMNS = Columns(4, 4)
PARTIAL = [name for name, entry in METHODS.entries().items() if entry.cls.partial]


def blueprint(network: Network) -> Blueprint:
    return Blueprint(network, COLUMNS, TASKS, seed=0)


def found(network: Network, method: Method | None = None) -> list[tuple[Place, Tensor]]:
    return places((method or Method()).build(blueprint(network)))


def slots(network: Network) -> list[tuple[str, int, int, float]]:
    """(role, index, count, depth) of a generator's stages in the order of its modules, once each."""
    return list(
        dict.fromkeys(
            (place.role.value, place.index, place.count, round(place.depth, 6))
            for place, _ in found(network)
            if place.net == "generator" and place.role
        )
    )


BACKBONE = [
    ("encoder", 1, 3, 0.0),
    ("encoder", 2, 3, 0.125),
    ("encoder", 3, 3, 0.25),
    ("bottleneck", 1, 3, 0.375),
    ("bottleneck", 2, 3, 0.5),
    ("bottleneck", 3, 3, 0.625),
    ("decoder", 1, 2, 0.75),
    ("decoder", 2, 2, 0.875),
    ("head", 1, 1, 1.0),
]


def test_slots_of_the_residual_network() -> None:
    assert slots(resnet()) == BACKBONE


def test_slots_of_the_personalised_network() -> None:
    # the mapper comes before all; the k-th personalisation block is as deep as the stage that it follows
    conditioning = [("conditioning", k + 1, 9, max(k - 1, 0) / 8) for k in range(9)]
    assert slots(personalised()) == BACKBONE + conditioning


def test_slots_of_the_unet() -> None:
    assert slots(UNet(width=4, pools=2)) == [
        ("encoder", 1, 2, 0.0),
        ("encoder", 2, 2, 0.2),
        ("bottleneck", 1, 1, 0.4),
        ("decoder", 1, 2, 0.6),
        ("decoder", 2, 2, 0.8),
        ("head", 1, 1, 1.0),
    ]


@pytest.mark.parametrize("name", NETWORKS.entries())
def test_every_floating_tensor_has_one_place_and_integers_none(name: str) -> None:
    network = small(NETWORKS[name])
    network.norm = Norm.batch
    nets = Method().build(blueprint(network))
    expected = {p: t for p, t in (*nets.named_parameters(), *nets.named_buffers()) if t.is_floating_point()}
    rows = places(nets)
    assert {place.path: id(tensor) for place, tensor in rows} == {path: id(t) for path, t in expected.items()}
    assert len(rows) == len(expected)
    buffers = {path for path, _ in nets.named_buffers()}
    assert any(path.endswith("num_batches_tracked") for path in buffers)
    for place, _ in rows:
        assert place.is_buffer is (place.path in buffers)
        assert (place.role is None) is (place.net == "discriminators") is (place.task is not None)


def test_a_place_knows_its_owner_and_what_is_around_it() -> None:
    rows = {place.path: place for place, _ in found(personalised())}
    style = rows["generator.personal.2.adain.style.weight"]
    assert style.within(PersonalBlock)
    assert not style.within(Mapper)
    assert not style.within(nn.InstanceNorm2d)
    norm = rows["generator.backbone.0.2.weight"]
    assert isinstance(norm.owner, nn.InstanceNorm2d)
    assert norm.within(nn.InstanceNorm2d)
    assert norm.within(nn.Sequential)
    assert rows["discriminators.T2->PD.body.0.weight"].task == "T2->PD"


# --- what travels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 3, 9])
def test_pflsynth_shares_from_its_cut_on(blocks: int) -> None:
    # published: stages 9-15 of 15, with 9 residual blocks of which 5 stay; the first ceil(5/9 of the blocks) elsewhere
    cut = {1: 1, 3: 2, 9: 5}[blocks]
    plan = Plan(PFLSynth().build(blueprint(personalised(blocks=blocks))), PFLSynth().travels)
    roles = [(place.role, place.index) for place in plan.model.places]
    assert {index for role, index in roles if role is Role.bottleneck} == set(range(cut + 1, blocks + 1))
    assert {role for role, _ in roles} - {Role.bottleneck} == {Role.decoder, Role.head, Role.conditioning}
    assert all(place.within(Mapper) for place in plan.model.places if place.role is Role.conditioning)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("network", NETWORKS.entries())
@pytest.mark.parametrize("name", PARTIAL)
def test_partial_methods_share_a_part_on_every_network(name: str, network: str, norm: Norm) -> None:
    made = small(NETWORKS[network])
    made.norm = norm
    method = METHODS[name]()
    shares = [method.travels(place) for place, _ in found(made, method) if place.net == "generator"]
    assert any(shares)
    assert not all(shares)


def test_there_are_partial_methods() -> None:
    assert {"fedbn", "pflsynth"} <= set(PARTIAL)
    assert METHODS["fedavg"].partial is False


@pytest.mark.parametrize(("method", "share"), [(FedBN(), "all"), (PFLSynth(), "none")])
def test_a_partial_method_without_a_part_says_so(method: Method, share: str) -> None:
    text = rf"method {type(method).__name__} shares part of the generator, but on the network PlainNetwork that is {share} of it"
    with pytest.raises(ContractError, match=text):
        trainer(method, PlainNetwork())


@dataclass
class JudgesOnly(Method):
    """Shares its discriminators, which are larger than the generator, and nothing of the generator."""

    partial = True

    def travels(self, place: Place) -> bool:
        return place.net == "discriminators"


def test_only_the_generator_counts_as_a_part_of_it() -> None:
    with pytest.raises(ContractError, match="none of it"):
        trainer(JudgesOnly(), small(UNet))


# --- names -----------------------------------------------------------------------------------------------------------


def rename(module: nn.Module) -> None:
    """Give every submodule another name, in place, by torch's own table of them. Such a module cannot run, but everything in it
    has a place."""
    for child in module.children():
        rename(child)
    module._modules = {f"x{number}": child for number, child in enumerate(module._modules.values())}


class Renamed(Generator):
    """A generator whose stages are held under other names, as are all modules inside them."""

    def __init__(self, inner: Generator) -> None:
        super().__init__()
        self.kept = inner.stages()
        rename(inner)
        self.add_module("anything", inner)

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        raise NotImplementedError  # a generator has to have it; here nothing but names is asked for

    def stages(self) -> list[Stage]:
        return self.kept


@dataclass
class RenamedNetwork(Network):
    inner: Any = None

    def generator(self, columns: Columns) -> Generator:
        return Renamed(self.inner.generator(columns))

    def discriminator(self, sources: int = 1) -> nn.Module:
        made = self.inner.discriminator(sources)
        rename(made)
        return made


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS.entries())
@pytest.mark.parametrize("name", METHODS.entries())
def test_names_decide_nothing(name: str, network: str) -> None:
    inner = small(NETWORKS[network])
    method = METHODS[name]()
    inner.norm = method.needs_norm or Norm.batch  # which has parameters and running statistics
    try:
        plain, renamed = (found(made, method) for made in (inner, RenamedNetwork(inner=inner)))
    except ContractError as refusal:  # of a method that needs its own network's class, which renaming hides
        if f"network={method.default_network()}" in str(refusal):
            return
        raise
    paths = [{place.path for place, _ in found if place.role or place.task} for found in (plain, renamed)]
    assert not paths[0] & paths[1]  # what a method adds by itself keeps its name
    for (one, tensor), (other, same) in zip(plain, renamed, strict=True):
        assert torch.equal(tensor, same)
        assert method.travels(one) is method.travels(other), one.path
