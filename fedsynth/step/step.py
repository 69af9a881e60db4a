"""How one local step executes: the pairs (player, loss) that a method yields become optimiser updates.

On a GPU a step is played back as a CUDA graph. Everything that Python decides in it is then decided once, for each combination
of what a step may read besides tensors (`Step.local`), and its tensors keep their addresses in a slot.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor

from ..exchange import ContractError
from ..feed import Batch
from ..runtime.flops import FlopCounter
from ..runtime.options import Execution, Precision, TrainerOptions
from .contract import ASTRAY, STALE, MethodContract, Pairs
from .graph import StepGraph
from .slot import Slot

WARM_UP = 2  # eager steps of a kind before it is recorded: they make the optimiser's state and choose kernels
CLOSE = 0.1  # by how much of a loss or a gradient's norm a compiled step may miss the eager one: bf16 is that rough
GRAPHS = 32  # that a slot keeps; the one that was played longest ago goes first


class Step:
    """Runs local steps, and sums losses on the device; nothing here waits for the device.

    It counts backward passes, the floating-point operations of local steps, and the seconds of the host by what it did: "data",
    "discriminators", "generator" (all other players), "graphs", where both are played back, or "compiling". `eager` says why the
    steps of a method that was to be recorded run eagerly, or why some of those that were to be compiled do; it is empty if none
    does.
    """

    def __init__(self, method: str, options: TrainerOptions, device: torch.device) -> None:
        self.method, self.clip, self.device = method, options.clip, device
        self.contract = MethodContract(method)
        self.execution = options.execute(device.type)
        self.precision = options.precision
        self.backwards, self.flops, self.eager = 0, 0, ""
        self.seconds: dict[str, float] = defaultdict(float)
        self.waits = False  # for the device after each part, so that the device's seconds count and not the host's
        self._flops: dict[Hashable, int] = {}
        self._roles: dict[Hashable, list[str]] = {}  # whose losses a step of a kind has
        self._learning: dict[Hashable, set[str] | None] = {}  # by kind, for CompiledNets.at_work; None: it runs eagerly
        self._watching: Callable[[list[Tensor]], None] | None = None  # told what gradients are asked for

    @property
    def ran(self) -> str:
        """How local steps ran, in words."""
        if self.eager and self.execution is Execution.compiled:
            return f"compiled; but eagerly: {self.eager}"
        return f"eager, as it cannot be captured: {self.eager}" if self.eager else self.execution.value

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, the arithmetic has the run's precision."""
        if self.precision is not Precision.bf16:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """The host's time inside counts for this part of the work."""
        started = time.perf_counter()
        yield
        self.seconds[part] += self._now() - started

    def _now(self) -> float:
        if self.waits and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def local(
        self, slot: Slot, mode: Hashable, batch: Batch, pairs: Callable[[Batch], Pairs], losses: dict[str, Tensor]
    ) -> None:
        """One local step in a slot: the `pairs` of a batch, run, compiled or played back. Adds to `losses`, by role.

        `mode` is all else that the step may depend on: two steps of one mode, task, shape and numbers in memory do the same
        operations. The losses of steps that are played back arrive in `losses` when `collect` is called.
        """
        kind = (mode, batch.task, batch.images.shape, batch.second is None, slot.numbers())
        counted = kind in self._flops
        if not counted:
            expected = self.count(kind, slot, pairs(batch))
            if slot.compiled:
                self._compile(kind, slot, pairs(batch), expected)
        if slot.compiled and (learning := self._learning[kind]) is not None:
            with slot.compiled.at_work(learning):
                self.run(pairs(batch), slot.players, slot.optimizers, losses)
        elif not counted or self.execution is not Execution.graph or self.eager:
            self.run(pairs(batch), slot.players, slot.optimizers, losses)
        else:
            with self.timing("graphs"):
                self._play(kind, slot, batch, pairs, losses)
        self.flops += self._flops[kind]

    def run(
        self,
        pairs: Pairs,
        players: Mapping[str, list[Tensor]],
        optimizers: Mapping[str, torch.optim.Optimizer] | None,
        losses: dict[str, Tensor] | None = None,
    ) -> None:
        """Move each player by its loss, until the pairs end; without `optimizers` nobody moves.

        Autocast is left and entered again around every `next`, because it caches the casts of weights until it ends. A
        player's gradients are None, not zero, before its loss: Adam would move it by momentum otherwise.
        """
        self.contract.check_step(pairs)
        while True:
            started = time.perf_counter()
            with self.autocast(), self.contract.explained("its step", ASTRAY):
                pair = next(pairs, None)
            self.contract.check_contexts(pairs, self.device.type)
            if pair is None:
                return
            chosen, loss = self.contract.checked_pair(pair, players)
            parameters = [parameter for name in chosen for parameter in players[name]]
            self.asked(parameters)
            for parameter in parameters:
                parameter.grad = None
            with self.contract.explained(f"the loss of {'+'.join(chosen)}", STALE):
                loss.backward(inputs=parameters)
            self.contract.check_gradients(chosen, parameters)
            self.backwards += 1
            if optimizers is not None:
                if self.clip:
                    torch.nn.utils.clip_grad_norm_(parameters, self.clip)
                for name in chosen:
                    optimizers[name].step()
                torch.autograd.graph.increment_version(parameters)  # fused optimisers do not: a stale graph must raise
            role = "discriminator" if "discriminators" in chosen[0] else "generator"
            if losses is not None:
                if role in losses:
                    losses[role].add_(loss.detach())
                else:
                    losses[role] = loss.detach().clone()
            self.seconds["discriminators" if role == "discriminator" else role] += self._now() - started

    def count(self, kind: Hashable, slot: Slot, pairs: Pairs) -> dict[str, Tensor]:
        """Note the operations of a kind of step, and whose losses it has, from a step in which nobody moves. Returns the losses,
        by role, and, where steps are compiled, the norms of gradients, by player.

        The step that counts is undone, as torch rounds some operations otherwise while it is watched.
        """
        own: dict[str, Tensor] = {}
        before, learning = self.backwards, set[str]()
        if nets := slot.compiled:
            nets.watch()
            self._watching = lambda parameters: learning.update(nets.asked(parameters))
        with slot.preserved(), FlopCounter() as counter:
            self.run(pairs, slot.players, None, own)
        self.backwards, self._watching = before, None
        self._flops[kind], self._roles[kind], self._learning[kind] = counter.total, [*own], learning
        return own | (_norms(slot) if nets else {})

    def asked(self, parameters: list[Tensor]) -> None:
        """Note that the gradient of a loss by these parameters is asked for."""
        if self._watching is not None:
            self._watching(parameters)

    def _compile(self, kind: Hashable, slot: Slot, pairs: Pairs, expected: Mapping[str, Tensor]) -> None:
        """Compile what a kind of step calls, by a step in which nobody moves. Where that fails, or does not find the losses and
        gradients that were counted, steps of the kind run eagerly."""
        assert slot.compiled is not None
        own: dict[str, Tensor] = {}
        before, parts, started = self.backwards, dict(self.seconds), time.perf_counter()
        try:
            with slot.preserved(), slot.compiled.at_work(self._learning[kind] or ()):
                self.run(pairs, slot.players, None, own)
            reasons = slot.compiled.eager()
            for name, value in (own | _norms(slot)).items():
                if not torch.allclose(value, expected[name], rtol=CLOSE, atol=1e-6, equal_nan=True):
                    raise ArithmeticError(f"compiled, {name} is {value:.4g}, and eagerly it is {expected[name]:.4g}")
        except Exception as error:  # a compiler has errors of its own
            reasons, self._learning[kind] = [f"{type(error).__name__}: {error}"], None
        finally:
            self.backwards, self.seconds = before, defaultdict(float, parts)
            self.seconds["compiling"] += time.perf_counter() - started
        if reasons and not self.eager:
            self.eager = "; ".join(reasons)
            logging.getLogger(__name__).warning(
                "method %s does not run compiled all through: %s", self.method, self.eager
            )

    def collect(self, slot: Slot, losses: dict[str, Tensor]) -> None:
        """Add what the steps that were played back in a slot have summed since the last call."""
        for graph in slot.graphs.values():
            graph.collect(losses)

    # --- played back -------------------------------------------------------------------------------------------------

    def _play(
        self, kind: Hashable, slot: Slot, batch: Batch, pairs: Callable[[Batch], Pairs], losses: dict[str, Tensor]
    ) -> None:
        """Play a recorded step back, record it if its kind was seen often enough, or run it."""
        key = (kind, facts := slot.facts())
        if (graph := slot.graphs.get(key)) is None:
            if slot.seen[key] >= WARM_UP:
                graph = self._record(slot, batch, self._roles[kind], pairs)
            if graph is None:
                self.run(pairs(batch), slot.players, slot.optimizers, losses)
                slot.seen[key] += slot.facts() == facts  # a step that makes memory of its own will not do so again
                return
            slot.graphs[key] = graph
            if len(slot.graphs) > GRAPHS:
                _, gone = slot.graphs.popitem(last=False)
                gone.collect(losses)
                slot.wait()
        slot.graphs.move_to_end(key)
        graph.play(batch)
        self.backwards += graph.backwards

    def _record(self, slot: Slot, batch: Batch, roles: list[str], pairs: Callable[[Batch], Pairs]) -> StepGraph | None:
        """Record a step without doing it. None if it cannot be recorded, which is logged once."""
        graph = StepGraph(batch, roles, self.device)
        step = partial(self.run, pairs(graph.batch), slot.players, slot.optimizers, graph.losses)
        before = self.backwards
        try:
            graph.record(slot.noise, slot.pool, slot.stream, step)
            graph.backwards = self.backwards - before
        except ContractError:
            raise
        except Exception as error:  # whatever a method does that a graph cannot hold, CUDA says it in errors of its own
            self.eager = f"{type(error).__name__}: {error}"
            logging.getLogger(__name__).warning(
                "method %s cannot be captured as a CUDA graph, so its steps run eagerly: %s", self.method, self.eager
            )
            self._failed = graph  # some versions of torch still ask it for memory
            slot.renew_noise()
            return None
        finally:
            self.backwards = before
        return graph


def _norms(slot: Slot) -> dict[str, Tensor]:
    """The norm of each player's gradient."""
    return {
        name: torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        for name, parameters in slot.players.items()
    }
