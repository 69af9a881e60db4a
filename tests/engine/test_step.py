"""One local step: who moves, by which loss, in which arithmetic; and what a method may not do between its yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.federations import options, resnet, trainer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fedsynth.exchange import ContractError
from fedsynth.feed import Batch
from fedsynth.method import Method, Nets
from fedsynth.networks.blocks import Norm
from fedsynth.registry import OPTIMIZERS
from fedsynth.runtime.flops import FlopCounter
from fedsynth.runtime.options import Precision
from fedsynth.site import SiteState
from fedsynth.step import Pairs, Step

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    yield
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")


class Pair:
    """A judge and a maker, one linear layer each, with their optimisers."""

    def __init__(self, lr: float = 0.1, **optimizer: Any) -> None:
        torch.manual_seed(0)
        self.d, self.g = nn.Linear(8, 8), nn.Linear(8, 8)
        self.x = torch.randn(4, 8)
        self.players = {"d": list(self.d.parameters()), "g": list(self.g.parameters())}
        self.optimizers = {n: torch.optim.Adam(p, lr, **optimizer) for n, p in self.players.items()}

    def run(self, pairs: Pairs, losses: dict[str, Tensor] | None = None, **given: Any) -> Step:
        step = Step("Probe", options(**given), CPU)
        step.run(pairs, self.players, self.optimizers, losses)
        return step


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


# --- who moves -------------------------------------------------------------------------------------------------------


def test_a_pair_of_losses_is_two_plain_updates() -> None:
    """The oracle is the loop that everyone writes: gradients to None, backward, step; judge first, maker after."""
    ours, plain = Pair(), Pair()

    def pairs(of: Pair) -> Pairs:
        yield "d", of.d(of.g(of.x).detach()).square().mean()
        yield "g", (of.d(of.g(of.x)) - 1).square().mean()

    losses: dict[str, Tensor] = {}
    step = Step("Probe", options(), CPU)
    for _ in range(3):
        step.run(pairs(ours), ours.players, ours.optimizers, losses)
    total = 0.0
    for _ in range(3):
        for name, loss in pairs(plain):
            total += loss.item()
            for player in plain.players.values():
                for parameter in player:
                    parameter.grad = None
            loss.backward()
            plain.optimizers[name].step()
    assert torch.equal(flat(ours.d), flat(plain.d))
    assert torch.equal(flat(ours.g), flat(plain.g))
    assert step.backwards == 6
    assert losses["generator"].item() == pytest.approx(total)


def test_only_the_player_that_is_named_moves() -> None:
    of = Pair()
    judge = flat(of.d)
    of.run(iter_pairs(("g", lambda: of.d(of.g(of.x)).mean())))
    assert torch.equal(flat(of.d), judge)
    assert all(p.grad is None for p in of.d.parameters())


def iter_pairs(*pairs: tuple[Any, Any]) -> Pairs:
    for name, loss in pairs:
        yield name, loss()


def test_two_players_move_by_one_loss() -> None:
    of = Pair()
    before = flat(of.d), flat(of.g)
    step = of.run(iter_pairs((("d", "g"), lambda: of.d(of.g(of.x)).mean())))
    assert not torch.equal(flat(of.d), before[0])
    assert not torch.equal(flat(of.g), before[1])
    assert step.backwards == 1


@dataclass
class Watched(Method):
    """Asserts after each step that the discriminator of the task that was not drawn has not moved by a bit."""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        judges = site.nets["discriminators"]
        idle = {task: flat(judge) for task, judge in judges.items() if task != str(batch.task)}
        drawn = flat(judges[str(batch.task)])
        yield from super().step(site, batch)
        site.memory["stood"] = int(site.memory.get("stood", 0)) + torch.equal(flat(judges[str(batch.task)]), drawn)
        for task, before in idle.items():
            state = site.optimizers[f"discriminators.{task}"].state
            moved = "idle with momentum" if state else "idle from the start"
            site.memory[moved] = int(site.memory.get(moved, 0)) + 1
            assert torch.equal(flat(judges[task]), before)


def test_zero_gradient_is_not_no_gradient() -> None:
    # with its gradient at zero rather than None, Adam would move the idle discriminator by its momentum
    of = trainer(Watched(), sites=("ixi", "midas"), local_steps=6)
    of.run()
    assert all(site.memory.get("idle with momentum", 0) for site in of.sites.values())
    assert not any(site.memory["stood"] for site in of.sites.values())


def test_a_part_of_a_player_that_the_loss_does_not_touch_stays() -> None:
    of = Pair()
    both = {"d": [*of.d.parameters(), *of.g.parameters()]}
    optimizers = {"d": torch.optim.Adam(both["d"], 0.1)}
    step = Step("Probe", options(), CPU)
    step.run(iter_pairs(("d", lambda: of.d(of.g(of.x)).mean())), both, optimizers)
    before = flat(of.g)
    step.run(iter_pairs(("d", lambda: of.d(of.x).mean())), both, optimizers)
    assert torch.equal(flat(of.g), before)  # though Adam remembers a gradient


@pytest.mark.parametrize("clip", [0.01, 1e6, 0.0])
def test_clipping_bounds_a_players_gradient(clip: float) -> None:
    of = Pair()
    of.optimizers = {n: torch.optim.SGD(p, 1.0) for n, p in of.players.items()}
    before, loss = flat(of.g), of.d(of.g(of.x)).square().sum() * 100
    norm = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, of.players["g"], retain_graph=True)]).norm()
    of.run(iter_pairs(("g", lambda: loss)), clip=clip)
    expected = clip if clip == 0.01 else norm.item()
    assert (flat(of.g) - before).norm().item() == pytest.approx(expected, rel=1e-4)


# --- mixed precision -------------------------------------------------------------------------------------------------


def test_autocast_does_not_serve_old_weights() -> None:
    """Autocast keeps the bf16 copy of a weight until it ends; in one context the second loss would see the old judge."""
    of = Pair(lr=0.5)
    seen = []

    def pairs() -> Pairs:
        for name in ("d", "g"):
            loss = of.d(of.g(of.x)).float().square().mean()
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                fresh = of.d(of.g(of.x)).float().square().mean()
            seen.append((loss.item(), fresh.item()))
            yield name, loss

    of.run(pairs(), precision=Precision.bf16)
    assert [loss for loss, _ in seen] == [fresh for _, fresh in seen]
    assert seen[0] != seen[1]

    of = Pair(lr=0.5)
    with torch.autocast("cpu", torch.bfloat16):  # the trap itself, so that this test is known to be able to fail
        first = of.d(of.x)
        with torch.no_grad():
            of.d.weight.add_(1)
        assert torch.equal(first, of.d(of.x))


@pytest.mark.slow
@pytest.mark.usefixtures("_any_machine")
def test_bf16_keeps_weights_moments_and_what_travels_in_float32() -> None:
    half, full = (
        trainer(Method(), resnet(norm=Norm.batch), ("ixi", "midas"), precision=precision)
        for precision in (Precision.bf16, Precision.fp32)
    )
    results = half.run(), full.run()
    for site in half.sites.values():
        tensors = {**dict(site.nets.named_parameters()), **dict(site.nets.named_buffers())}
        assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float32}
        for optimizer in site.optimizers.values():
            moments = [value for state in optimizer.state.values() for value in state.values()]
            assert {moment.dtype for moment in moments} == {torch.float32}
    assert half.server.model.dtype == half.server.buffers.dtype == torch.float32
    assert results[0].costs["bytes_up"] == results[1].costs["bytes_up"]
    assert results[0].digest != results[1].digest
    psnr = [[row["psnr"] for row in result.scores] for result in results]
    assert psnr[0] == pytest.approx(psnr[1], abs=0.5)


# --- what a method may not do ----------------------------------------------------------------------------------------


@dataclass
class Early(Method):
    """Computes both losses before it yields either."""

    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        judge, fake = nets["discriminators"][str(batch.task)], nets["generator"](batch.source, batch.code)
        fooled = judge(batch.source, fake).square().mean()
        yield f"discriminators.{batch.task}", judge(batch.source, fake.detach()).square().mean()
        yield "generator", fooled


@pytest.mark.parametrize("optimizer", OPTIMIZERS.entries())
def test_a_stale_graph_raises(optimizer: str) -> None:
    with pytest.raises(
        ContractError, match=r"method Early: the loss of generator .* changed in place .* `yield \(player, loss\)`"
    ):
        trainer(Early(), sites=("ixi",), optimizer=OPTIMIZERS[optimizer]()).run()


@pytest.mark.parametrize("kind", [{"foreach": True}, {"foreach": False}])
def test_a_stale_graph_raises_whatever_the_kernels(kind: dict[str, bool]) -> None:
    of = Pair(**kind)

    def pairs() -> Pairs:
        judged = of.d(of.g(of.x)).mean()
        yield "d", of.d(of.g(of.x).detach()).square().mean()
        yield "g", judged

    with pytest.raises(ContractError, match="the loss of g needs a tensor that was changed in place"):
        of.run(pairs())


@pytest.mark.parametrize(
    "context", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_a_context_that_is_open_at_a_yield_is_refused(context: Any) -> None:
    of = Pair()

    def pairs() -> Pairs:
        loss = of.d(of.x).mean()
        with context():
            yield "d", loss

    before = flat(of.d)
    with pytest.raises(
        ContractError, match=r"method Probe: a context \(no_grad or autocast\) is still open at a yield"
    ):
        of.run(pairs())
    assert torch.is_grad_enabled()  # the error has closed it, or everything after it would run without gradients
    assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(flat(of.d), before)


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (
            ("critic", lambda of: of.d(of.x).mean()),
            "method Probe: its step yields the player 'critic'; its players are d, g",
        ),
        ((("d", "critic"), lambda of: of.d(of.x).mean()), "yields the player 'critic'"),
        (
            ("d", lambda of: of.d(of.x)),
            r"the loss of d must be a scalar tensor with a gradient; it is of shape \(4, 8\)",
        ),
        (("d", lambda of: of.d(of.x).mean().detach()), r"loss of d must .* of shape \(\), loss.requires_grad=False"),
        (("g", lambda of: 0.0), "the loss of g must be a scalar tensor with a gradient; it is 0.0"),
        (("g", lambda of: of.d(of.g(of.x).detach()).mean()), "the loss of g depends on none of its parameters"),
    ],
)
def test_what_no_player_can_learn_from_is_refused(pair: tuple[Any, Any], text: str) -> None:
    of = Pair()
    with pytest.raises(ContractError, match=text):
        of.run(iter_pairs((pair[0], lambda: pair[1](of))))


def test_two_losses_of_one_forward_raise() -> None:
    of = Pair()

    def pairs() -> Pairs:
        made = of.g(of.x)
        yield "g", made.square().mean()
        yield "g", made.abs().mean()

    with pytest.raises(ContractError, match="the loss of g uses a forward pass that an earlier yield has used up"):
        of.run(pairs())


def test_the_count_is_torchs() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.ConvTranspose2d(4, 2, 2, 2), nn.Flatten(2))
    heads = nn.MultiheadAttention(36, 2, batch_first=True)
    counts = []
    for counter in (FlopCounter(), FlopCounterMode(display=False)):
        with counter:
            features = net(torch.ones(3, 1, 5, 5))
            heads(features, features, features)[0].sum().backward()
        counts.append(counter.total if isinstance(counter, FlopCounter) else counter.get_total_flops())
    assert counts[0] == counts[1] > 0
