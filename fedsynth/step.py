"""How one local step executes: the pairs (player, loss) that a method yields become optimiser updates.

On a GPU a step is played back as a CUDA graph: all that Python decides in it is decided once for each thing that it may look
at besides tensors, and tensors lie at fixed addresses in a slot.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from .exchange import ContractError
from .feed import Batch
from .runtime.flops import FlopCounter
from .runtime.options import Execution, Precision, TrainerOptions

if TYPE_CHECKING:
    from .method import Method
    from .site import SiteState
    from .site.slots import Slot

WARM_UP = (
    2  # steps of a kind that run eagerly before it is captured: they make the optimiser's state and choose kernels
)
GRAPHS = 32  # a slot keeps; the one that was played longest ago goes first
T = TypeVar("T")
Player = str | tuple[str, ...]  # who moves by a loss: one player, or several at once
Pairs = Generator[tuple[Player, Tensor], None, None]


class Step:
    """Runs local steps, and sums losses on the device; nothing here waits for it.

    Counts backward passes and the floating-point operations of local steps, and the host's seconds by what it did: "data",
    "discriminators", "generator" (all other players), or "graphs" where both are played back. `eager` says why a method that was
    to be captured is not, else it is empty.
    """

    def __init__(self, method: str, options: TrainerOptions, device: torch.device) -> None:
        self.method, self.clip, self.device = method, options.clip, device
        self.execution = options.execute(device.type)
        self.precision = options.precision
        self.backwards, self.flops, self.eager = 0, 0, ""
        self.seconds: dict[str, float] = defaultdict(float)
        self.waits = False  # for the device after each part, so that its seconds count and not the host's
        self._flops: dict[Hashable, int] = {}
        self._roles: dict[Hashable, list[str]] = {}  # whose losses a step has

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, the arithmetic of the run's precision."""
        if self.precision is not Precision.bf16:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def timed(self, what: str, work: Callable[[], T]) -> T:
        """The result of some work, whose time on the host is counted."""
        started = time.perf_counter()
        result = work()
        self.seconds[what] += self._now() - started
        return result

    def _now(self) -> float:
        if self.waits and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def local(self, method: Method, site: SiteState, batch: Batch, losses: dict[str, Tensor]) -> None:
        """One local step of a method at a site.

        What is played back must be called `collect` for: its losses are summed in the graph.
        """
        slot = site.slot

        def run(batch: Batch, losses: dict[str, Tensor]) -> None:
            self(method.step(site, batch), slot.players, slot.optimizers, losses)

        numbers = tuple((name, value) for name, value in site.memory.items() if not isinstance(value, Tensor))
        kind = (site.structure, batch.task, site.phase, batch.images.shape, batch.second is None, numbers)
        if kind not in self._flops:
            own: dict[str, Tensor] = {}
            with FlopCounter() as counter, torch.compiler.set_stance("force_eager"):
                run(batch, own)
            self._flops[kind], self._roles[kind] = counter.total, [*own]
            for role, loss in own.items():
                losses[role] = losses[role] + loss if role in losses else loss
        elif self.execution is not Execution.graph or self.eager:
            run(batch, losses)
        else:
            self.timed("graphs", lambda: self._play(kind, slot, batch, losses, run))
        self.flops += self._flops[kind]

    def _play(self, kind: Hashable, slot: Slot, batch: Batch, losses: dict[str, Tensor], run: Run) -> None:
        """Play a captured step, capture it when it was seen often enough, or run it."""
        key = (kind, facts := slot.facts())
        if (captured := slot.captured.get(key)) is None:
            if slot.seen[key] >= WARM_UP:
                captured = self._capture(slot, batch, self._roles[kind], run)
            if captured is None:
                run(batch, losses)
                slot.seen[key] += slot.facts() == facts  # a step that makes memory of its own will not do so again
                return
            slot.captured[key] = captured
            if len(slot.captured) > GRAPHS:
                _, gone = slot.captured.popitem(last=False)
                gone.collect(losses)
                slot.wait()
        slot.captured.move_to_end(key)
        captured.play(batch)
        self.backwards += captured.backwards

    def _capture(self, slot: Slot, batch: Batch, roles: list[str], run: Run) -> Captured | None:
        """Record a step without doing it. None if it cannot be recorded, which is said once."""
        captured = Captured(batch, roles, self.device)
        before = self.backwards
        try:
            captured.record(slot, run)
            captured.backwards = self.backwards - before
        except ContractError:
            raise
        except Exception as error:  # whatever a method does that a graph cannot hold, CUDA says it in errors of its own
            self.eager = f"{type(error).__name__}: {error}"
            logging.getLogger(__name__).warning(
                "method %s cannot be captured as a CUDA graph, so its steps run eagerly: %s", self.method, self.eager
            )
            self._failed = captured  # some versions of torch still ask it for memory
            slot.renew_noise()
            return None
        finally:
            self.backwards = before
        return captured

    def collect(self, slot: Slot, losses: dict[str, Tensor]) -> None:
        """Add what a slot's captured steps have summed since they were last asked."""
        for captured in slot.captured.values():
            captured.collect(losses)

    def __call__(
        self,
        pairs: Pairs,
        players: Mapping[str, list[Tensor]],
        optimizers: Mapping[str, torch.optim.Optimizer],
        losses: dict[str, Tensor] | None = None,
    ) -> None:
        """Drive one step to its end.

        Autocast is left and entered again around every `next`, because it caches the casts of weights until it ends. A
        player's gradients are None, not zero, before its loss: Adam would move it by momentum otherwise.
        """
        while True:
            started = time.perf_counter()
            with self.autocast():
                pair = next(pairs, None)
            if not torch.is_grad_enabled() or torch.is_autocast_enabled(self.device.type):
                pairs.close()  # which closes the context
                raise ContractError(
                    f"method {self.method}: a context (no_grad or autocast) is still open at a yield of its step; close it "
                    "before the yield, else the backward pass runs inside it"
                )
            if pair is None:
                return
            names, loss = pair
            chosen = (names,) if isinstance(names, str) else names
            try:
                parameters = [parameter for name in chosen for parameter in players[name]]
            except KeyError as error:
                raise ContractError(
                    f"method {self.method}: its step yields the player {error.args[0]!r}; its players are {', '.join(players)}"
                ) from None
            if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
                found = (
                    f"of shape {tuple(loss.shape)}, {loss.requires_grad=}" if isinstance(loss, Tensor) else repr(loss)
                )
                raise ContractError(
                    f"method {self.method}: the loss of {'+'.join(chosen)} must be a scalar tensor with a gradient; it is "
                    f"{found}"
                )
            for parameter in parameters:
                parameter.grad = None
            loss.backward(inputs=parameters)
            if all(parameter.grad is None for parameter in parameters):
                raise ContractError(
                    f"method {self.method}: the loss of {'+'.join(chosen)} depends on none of its parameters, which could "
                    "never learn; was something detached?"
                )
            self.backwards += 1
            if self.clip:
                torch.nn.utils.clip_grad_norm_(parameters, self.clip)
            for name in chosen:
                optimizers[name].step()
            torch.autograd.graph.increment_version(parameters)  # fused optimisers do not: a stale graph must raise
            judged = "discriminators" in chosen[0]
            if losses is not None:
                role = "discriminator" if judged else "generator"
                if role in losses:
                    losses[role].add_(loss.detach())
                else:
                    losses[role] = loss.detach().clone()
            self.seconds["discriminators" if judged else "generator"] += self._now() - started


Run = Callable[[Batch, dict[str, Tensor]], None]


class Captured:
    """A local step as a CUDA graph, with a batch and sums of losses at addresses of its own."""

    def __init__(self, batch: Batch, roles: list[str], device: torch.device) -> None:
        self.batch = batch.copy()
        self.inputs = self.batch.tensors()
        self.losses = {role: torch.zeros((), device=device) for role in roles}
        self.backwards, self.played = 0, False

    def record(self, slot: Slot, run: Run) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(slot.noise)  # a playback draws from where the stream then stands
        with torch.cuda.graph(self.graph, slot.pool, slot.stream, capture_error_mode="thread_local"):
            run(self.batch, self.losses)

    def play(self, batch: Batch) -> None:
        torch._foreach_copy_(self.inputs, batch.tensors())
        self.graph.replay()
        self.played = True

    def collect(self, losses: dict[str, Tensor]) -> None:
        if self.played:
            for role, total in self.losses.items():
                losses[role] = losses[role] + total if role in losses else total.clone()
                total.zero_()
            self.played = False
