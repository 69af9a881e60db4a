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
GRAPHS = 32  # that a slot keeps; the one that was played longest ago goes first


class Step:
    """Runs local steps, and sums losses on the device; nothing here waits for the device.

    It counts backward passes, the floating-point operations of local steps, and the seconds of the host by what it did: "data",
    "discriminators", "generator" (all other players), or "graphs", where both are played back. `eager` says why the steps of a
    method that was to be recorded run eagerly; it is empty if they do not.
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
        """One local step in a slot: the `pairs` of a batch, run or played back. Adds to `losses`, by role.

        `mode` is all else that the step may depend on: two steps of one mode, task, shape and numbers in memory do the same
        operations. The losses of steps that are played back arrive in `losses` when `collect` is called.
        """
        kind = (mode, batch.task, batch.images.shape, batch.second is None, slot.numbers())
        counted = kind in self._flops
        if not counted:
            self.count(kind, slot, pairs(batch))
        if not counted or self.execution is not Execution.graph or self.eager:
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

    def count(self, kind: Hashable, slot: Slot, pairs: Pairs) -> None:
        """Note the operations of a kind of step, and whose losses it has, from a step in which nobody moves.

        The step that counts is undone, as torch rounds some operations otherwise while it is watched.
        """
        own: dict[str, Tensor] = {}
        before = self.backwards
        with slot.preserved(), FlopCounter() as counter, torch.compiler.set_stance("force_eager"):
            self.run(pairs, slot.players, None, own)
        self.backwards = before
        self._flops[kind], self._roles[kind] = counter.total, [*own]

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
