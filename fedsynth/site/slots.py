"""Where sites work: a few sets of nets on the device that all sites take in turn, so that 4 or 1,024 sites need the same memory.

A slot holds nets, optimisers, memory and noise at fixed addresses; a site's state is copied in when the site is first asked
for something and offloaded when another needs the slot. Sites with the same nets share slots.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..exchange import Memory, leaves
from ..networks.blocks import Noisy
from ..runtime.options import Execution, Optimizer, TrainerOptions
from .offload import OffloadStore, Tree

if TYPE_CHECKING:
    from ..federation import Task
    from ..method import Method
    from ..step import Captured
    from .site import SiteState


class Slot:
    """`nets` on the device; `players`: name -> parameters, each with its optimiser; `tensors`: all of the nets' by path, and
    `paths` by a parameter's id; `memory`; `received`, the server's model as it came, or None; `stream` that a GPU works on
    for this slot, and the `captured` steps that read and write it."""

    def __init__(self, nets: nn.ModuleDict, method: Method, options: TrainerOptions, device: torch.device) -> None:
        self.nets, self.device = nets, device
        groups = method.players(nets)
        self.players = {player: _flat(parameters) for player, parameters in groups.items()}
        self.optimizers = {player: optimizer(parameters, options, device) for player, parameters in groups.items()}
        self.tensors = dict(nets.named_parameters()) | dict(nets.named_buffers())
        self.paths = {id(parameter): path for path, parameter in nets.named_parameters()}
        self.memory = Memory(device)
        self.noise = torch.Generator(device)
        for module in nets.modules():
            if isinstance(module, Noisy):
                module.generator = self.noise
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.captured: OrderedDict[Hashable, Captured] = OrderedDict()
        self.seen: Counter[Hashable] = Counter()
        self.pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        if options.execution is Execution.compiled:
            for _, net in leaves(nets):
                net.compile()
        self._received: dict[torch.Size, Tensor] = {}  # each shape has an address of its own, which holds
        self._shape: torch.Size | None = None

    @property
    def received(self) -> Tensor | None:
        return None if self._shape is None else self._received[self._shape]

    @received.setter
    def received(self, model: Tensor | None) -> None:
        self._shape = None if model is None else model.shape
        if model is not None:
            if model.shape in self._received:
                self._received[model.shape].copy_(model)
            else:
                self._received[model.shape] = model.clone()

    def facts(self) -> tuple[Hashable, ...]:
        """What a step may read besides the tensors of the nets and a batch: numbers, and where and of which form tensors lie."""
        tensors = {**self.memory, "received": self.received} if self._shape is not None else self.memory
        return tuple(
            (name, value.data_ptr(), value.shape, value.dtype) if isinstance(value, Tensor) else (name, value)
            for name, value in sorted(tensors.items())
        )

    def follow(self) -> None:
        """What a GPU does for this slot from here on comes after all that it was told before."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    def join(self) -> None:
        """What a GPU is told from here on comes after all that it does for this slot."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def wait(self) -> None:
        """Until a GPU has done all that it was told for this slot."""
        if self.stream is not None:
            self.stream.synchronize()

    def renew_noise(self) -> None:
        """Streams as they were at the last seed: some versions of torch leave them as if a failed capture went on."""
        if self.device.type == "cuda":
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            for used in (self.noise, torch.cuda.default_generators[index]):
                fresh = torch.Generator(self.device).manual_seed(used.initial_seed())
                used.graphsafe_set_state(fresh.graphsafe_get_state())

    def at_work(self) -> AbstractContextManager[Any]:
        """Inside, a GPU queues work on the slot's own stream, beside that of other slots."""
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def rate(self, factor: float) -> None:
        """Set every learning rate to its start value times the factor."""
        for made in self.optimizers.values():
            for group in made.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(group["initial_lr"] * factor)
                else:
                    group["lr"] = group["initial_lr"] * factor

    def reset_optimizers(self) -> None:
        """Every optimiser as if it had never stepped, in place."""
        for made in self.optimizers.values():
            for entry in made.state.values():
                for value in entry.values():
                    value.zero_()

    def optimizer_state(self) -> dict[str, Any]:
        """Player -> index of its parameter -> the optimiser's tensors."""
        return {name: made.state_dict()["state"] for name, made in self.optimizers.items()}

    def load(self, tensors: Mapping[str, Tensor], memory: Mapping[str, Any]) -> None:
        """Put nets and memory into a state, in place."""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(tensors[name], non_blocking=True)
        self.memory.restore(memory)

    def load_optimizers(self, saved: Mapping[str, Mapping[Any, Mapping[str, Tensor]]]) -> None:
        """Put back what `optimizer_state` gave, in place; what is not there has never stepped."""
        self.reset_optimizers()
        for name, entries in saved.items():
            parameters = [p for group in self.optimizers[name].param_groups for p in group["params"]]
            state = self.optimizers[name].state
            for index, entry in entries.items():
                held = state[parameters[int(index)]]
                for key, value in entry.items():
                    if key in held:
                        held[key].copy_(value, non_blocking=True)
                    else:
                        held[key] = value.to(self.device, copy=True)


class SlotPool:
    """At most `options.resident` slots, or one for each different set of nets if those are more, or one for each site at work."""

    def __init__(
        self,
        start: Callable[[SiteState], nn.ModuleDict],
        method: Method,
        options: TrainerOptions,
        offload: OffloadStore,
        device: torch.device,
    ) -> None:
        self._start, self._method, self._options, self.offload, self._device = start, method, options, offload, device
        self._taken: OrderedDict[SiteState, Slot] = OrderedDict()  # the site that was asked longest ago comes first
        self._free: list[tuple[tuple[Task, ...], Slot]] = []

    def of(self, site: SiteState) -> Slot:
        """The site's slot: its state is in it."""
        slot = self._taken.get(site)
        if slot is None:
            slot = self._give(site)
        self._taken.move_to_end(site)
        return slot

    def in_slot(self, site: SiteState) -> bool:
        return site in self._taken

    def tree(self, site: SiteState) -> Tree | None:
        """The state of a site that is in_slot, by reference, or is kept in memory."""
        return self._tree(site) if site in self._taken else self.offload.held(site.state)

    def _tree(self, site: SiteState) -> Tree:
        return {"weights": site.weights(), "optimizers": self._taken[site].optimizer_state()}

    def dismiss(self, site: SiteState) -> None:
        """Give up a site's state: it is not offloaded and not to be asked for again."""
        self._free.append((site.structure, self._taken.pop(site)))

    def vacate(self) -> None:
        """Nobody is in_slot any more, and nothing is offloaded: states are looked for where they were written."""
        self._free += [(site.structure, slot) for site, slot in self._taken.items()]
        self._taken.clear()

    def _give(self, site: SiteState) -> Slot:
        slot = self._find(site) or Slot(deepcopy(self._start(site)), self._method, self._options, self._device)
        found = self.offload.find(site.state)
        if found is None:
            nets = self._start(site)
            slot.load(dict(nets.named_parameters()) | dict(nets.named_buffers()), {})
            slot.load_optimizers({})
        else:
            slot.load(**found["weights"])
            slot.load_optimizers(found["optimizers"])
        slot.received = None
        slot.rate(site.factor)
        self._taken[site] = slot
        return slot

    def _find(self, site: SiteState) -> Slot | None:
        """A slot with the nets that the site needs: a free one, or if no more may be made the one that was used longest ago by a
        site that is not at work, which is offloaded; None where one is to be made."""
        for place, (structure, slot) in enumerate(self._free):
            if structure == site.structure:
                del self._free[place]
                return slot
        if len(self._taken) + len(self._free) < self._options.resident:
            return None
        idle = (other for other in self._taken if not other.at_work and other.structure == site.structure)
        leaving = next(idle, None)
        if leaving is None:
            return None
        self.offload.keep(leaving.state, self._tree(leaving))
        return self._taken.pop(leaving)


def optimizer(parameters: list[Any], options: TrainerOptions, device: torch.device) -> torch.optim.Optimizer:
    """A player's optimiser, of a list of parameters or torch's groups: fused, and on a GPU with a learning rate that a captured
    step reads from a tensor."""
    lr = torch.tensor(options.lr, device=device) if device.type == "cuda" else options.lr
    made: torch.optim.Optimizer
    if options.optimizer is Optimizer.sgd:
        made = torch.optim.SGD(parameters, lr, fused=True)
    else:
        betas = (options.betas[0], options.betas[1])
        made = torch.optim.Adam(parameters, lr, betas, fused=True, capturable=device.type == "cuda")
    for group in made.param_groups:
        group["initial_lr"] = float(group["lr"])
        if device.type == "cuda":
            group["lr"] = torch.tensor(
                group["initial_lr"], device=device
            )  # a group of its own tensor, whoever shared one
    return made


def _flat(parameters: list[Any]) -> list[Tensor]:
    """The parameters of a list or of torch's parameter groups."""
    if parameters and isinstance(parameters[0], dict):
        return [parameter for group in parameters for parameter in group["params"]]
    return list(parameters)
