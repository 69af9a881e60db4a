"""What a site offers to a method, and what the engine keeps from leaking between hooks, sites and runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from support.federations import resnet, trainer
from torch import Tensor, nn

from fedsynth.exchange import ContractError, Message, Place
from fedsynth.feed import Batch
from fedsynth.method import Blueprint, Method
from fedsynth.networks.blocks import Norm
from fedsynth.registry import METHODS
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

SITES = ("ixi", "midas")


def digest(method: Method, **given: Any) -> dict[str, str]:
    return trainer(method, sites=SITES, **given).run().digest


# --- vectors ---------------------------------------------------------------------------------------------------------


@dataclass
class Mirrored(Method):
    """Shares discriminators too, and has a second set of nets."""

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        return nn.ModuleDict({**super().build(blueprint), "personal": super().build(blueprint)})

    def travels(self, place: Place) -> bool:
        return place.net in ("generator", "discriminators")


@pytest.fixture(name="site")
def _site() -> SiteState:
    return trainer(Mirrored(), resnet(norm=Norm.batch), SITES).sites["ixi"]  # lacks the discriminator of T2->T1


def test_a_mirror_is_packed_and_loaded_by_the_same_layout(site: SiteState) -> None:
    model, buffers = torch.randn_like(site.pack()), torch.rand_like(site.pack_buffers())
    before = site.pack()
    site.load(model, buffers, root="personal")
    held = site.where(lambda place: place.path in site.held)
    assert torch.equal(site.pack("personal")[held], model[held])
    assert torch.equal(site.pack(), before)
    for name, tensor in site.nets["personal"]["generator"].named_buffers():
        if tensor.is_floating_point():
            assert torch.equal(tensor, site.plan.buffers.part(buffers, f"generator.{name}"))
    assert not held.all()
    assert site.pack("personal")[~held].abs().sum() == 0
    site.received = model
    assert torch.equal(site.pack()[~held], model[~held])


@pytest.mark.parametrize(
    "act", [lambda site: site.pack("persona"), lambda site: site.load(site.pack(), root="persona")]
)
def test_a_set_of_nets_that_is_not_there_is_named(site: SiteState, act: Any) -> None:
    with pytest.raises(
        ContractError, match="site ixi has no set of nets 'persona'; it has generator, discriminators, pers"
    ):
        act(site)


@pytest.mark.parametrize("player", ["generator", "personal.generator", "personal.discriminators.T2->PD"])
def test_along_pairs_every_parameter_with_its_part(site: SiteState, player: str) -> None:
    vector = torch.arange(float(site.pack().numel()))
    pairs = site.along(player, vector)
    assert [id(parameter) for parameter, _ in pairs] == [id(parameter) for parameter in site.players[player]]
    plain = player.removeprefix("personal.")
    for (name, parameter), (_, part) in zip(site.nets.get_submodule(player).named_parameters(), pairs, strict=True):
        assert part.shape == parameter.shape
        assert torch.equal(part, site.plan.model.part(vector, f"{plain}.{name}"))
    naive: Tensor = sum(((p.double() - v.double()) ** 2).sum() for p, v in pairs) / 2
    assert float(torch.as_tensor(site.distance(player, vector)).detach()) == pytest.approx(
        float(naive.detach()), rel=1e-5
    )


def test_what_does_not_travel_is_at_no_distance() -> None:
    site = trainer(METHODS["local"](), sites=SITES).sites["ixi"]
    assert site.pack().shape == (0,)
    assert site.distance("generator", site.pack()) == site.inner("generator", site.pack()) == 0.0


def test_slope_is_the_gradient_and_moves_nothing() -> None:
    of = trainer(Mirrored(), resnet(norm=Norm.batch), SITES)
    site = of.sites["ixi"]
    [batch] = site.draw("look", 1)
    before, backwards = site.pack(), of.step.backwards

    def loss() -> Tensor:
        return (site.nets["generator"](batch.source, batch.code) - batch.target).abs().mean()

    with site.training(False):
        slope = site.slope("generator", loss())
        expected = torch.autograd.grad(loss(), site.players["generator"])
    for (_, part), gradient in zip(site.along("generator", slope), expected, strict=True):
        assert torch.equal(part, gradient)
    assert slope.count_nonzero() == sum(gradient.count_nonzero() for gradient in expected)
    assert torch.equal(site.pack(), before)
    assert all(parameter.grad is None for parameter in site.players["generator"])
    assert of.step.backwards == backwards + 1  # it costs what a backward pass costs


@dataclass
class Surgeon(Method):
    """Adds a vector to the generator's gradient, and checks what moved it."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        added = torch.full_like(site.pack(), 0.25)
        for player, loss in super().step(site, batch):
            if player != "generator":
                yield player, loss
                continue
            slopes = torch.autograd.grad(loss, site.players[player], retain_graph=True)
            alone = torch.cat([slope.reshape(-1) for slope in slopes])
            yield player, loss + site.inner(player, added)
            torch.testing.assert_close(site.gradient(player), alone + added, rtol=0, atol=1e-6)


def test_inner_adds_a_vector_to_the_gradient() -> None:
    trainer(Surgeon(), sites=SITES).round(1)


# --- data and work ---------------------------------------------------------------------------------------------------


def test_a_group_shares_a_draw_among_its_members() -> None:
    [group] = trainer(METHODS["pooled"](), sites=SITES).sites.values()
    assert [batch.site for batch in group.draw("look", 5)] == ["ixi", "ixi", "ixi", "midas", "midas"]
    assert [batch.site for batch in group.draw("look", 1)] == ["ixi"]
    assert group.draw("look", 0) == []
    assert (group.samples, group.steps, group.members) == (12, 6, SITES)


def test_a_groups_steps_are_its_members_in_a_common_random_order() -> None:
    [group] = trainer(METHODS["pooled"](), sites=SITES, local_steps=8).sites.values()
    group.enter(1)
    order = [draw.feed.name for draw in group.schedule()]
    assert sorted(order) == ["ixi"] * 8 + ["midas"] * 8
    assert order != sorted(order)
    group.enter(2)
    assert [draw.feed.name for draw in group.schedule()] != order


class Phased(Method):
    """Notes the phase of every step and hook, and trains before it serves."""

    seen: ClassVar[list[str]] = []

    def phase(self, site: SiteState, k: int) -> str:
        return f"step {k}"

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        self.seen.append(site.phase)
        yield from super().step(site, batch)

    def upload(self, site: SiteState) -> Message:
        self.seen.append(f"upload in {site.phase!r}")
        return super().upload(site)

    def personalise(self, site: SiteState) -> None:
        self.seen.append(f"serve in {site.phase!r}")
        site.fit(2)


def test_a_phase_is_of_its_step_in_training_and_in_fitting_alike() -> None:
    trainer(Phased(), sites=SITES, rounds=9, validate_every=1).round(1)
    counted = [
        "step 0",
        "step 0",
        "step 1",
        "step 1",
        "step 2",
        "step 2",
    ]  # each kind's operations, in a step of their own
    assert Phased.seen == [*counted, "upload in ''"] * 2 + ["serve in ''", "step 0", "step 1"] * 2


def test_fitting_takes_fresh_optimisers_and_leaves_the_sites_own() -> None:
    of = trainer(Method(), sites=SITES)
    of.round(1)
    site = of.sites["ixi"]
    before = {name: str(state) for name, state in site.slot.optimizer_state().items()}
    weights = site.pack()
    site.fit(2)
    assert {name: str(state) for name, state in site.slot.optimizer_state().items()} == before
    assert not torch.equal(site.pack(), weights)


# --- isolation -------------------------------------------------------------------------------------------------------


@dataclass
class Modes(Method):
    """Asserts that nets train in steps alone, and that a round's own things are there only inside it."""

    def receive(self, site: SiteState, message: Message) -> None:
        self.expect(site, False)
        super().receive(site, message)

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        self.expect(site, True)
        yield from super().step(site, batch)

    def upload(self, site: SiteState) -> Message:
        self.expect(site, False)
        return super().upload(site)

    def personalise(self, site: SiteState) -> None:
        self.expect(site, False)
        site.fit(1)
        self.expect(site, False)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        assert list(uploads) == sorted(uploads)
        super().aggregate(server, uploads)

    def expect(self, site: SiteState, training: bool) -> None:
        assert {module.training for module in site.nets.modules()} == {training}
        assert site.received is not None


def test_nets_train_in_steps_alone() -> None:
    of = trainer(Modes(), sites=SITES, participation=0.5)
    of.run()
    assert all(site.nets.training and site.received is None for site in of.sites.values())


@dataclass
class Scribbles(Method):
    """Writes into everything that it was handed after reading it, and sends what it remembers."""

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        message.model.fill_(7)
        message.buffers.fill_(7)

    def upload(self, site: SiteState) -> Message:
        site.memory["sent"] = site.pack()
        message = super().upload(site)
        return Message(message, model=site.memory["sent"])

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        for message in uploads.values():
            message.model.fill_(7)


@dataclass
class Remembers(Method):
    """As `Scribbles`, without the scribbling."""

    def upload(self, site: SiteState) -> Message:
        site.memory["sent"] = site.pack()
        return super().upload(site)


def test_neither_side_can_write_into_what_the_other_holds() -> None:
    assert digest(Scribbles()) == digest(Remembers())


@dataclass
class Aliases(Method):
    """Lets the server's model be what its memory holds, and memory go on."""

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        server.memory["mean"] = server.model
        server.model = server.memory.tensor("mean")
        server.buffers = server.model[:0]


def test_a_server_may_serve_what_it_remembers() -> None:
    of = trainer(Aliases(), sites=SITES)
    of.run()
    assert of.server.model.data_ptr() != of.server.memory.tensor("mean").data_ptr()
    assert digest(Aliases()) == digest(Aliases())


@dataclass
class Projects(Method):
    """Has a net of its own, drawn where torch draws by default."""

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        return nn.ModuleDict({**super().build(blueprint), "head": nn.Linear(64, 64)})

    def travels(self, place: Place) -> bool:
        return place.net in ("generator", "head")


def test_a_methods_own_nets_start_from_the_seed_alone() -> None:
    starts = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        before = torch.get_rng_state()
        of = trainer(Projects(), sites=SITES)
        assert torch.equal(torch.get_rng_state(), before)
        starts += [site.nets["head"].weight for site in of.sites.values()]
    assert all(torch.equal(start, starts[0]) for start in starts)
    other, _ = of.server.fresh(variant=1)
    assert not torch.equal(of.plan.model.part(other, "head.weight"), starts[0])
    plain = trainer(Method(), sites=SITES).sites["ixi"]
    assert torch.equal(of.sites["ixi"].pack()[: plain.pack().numel()], plain.pack())
