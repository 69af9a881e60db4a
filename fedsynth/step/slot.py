"""A slot: the nets, optimisers, memory and noise of one site at fixed addresses on the device, where it trains."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..exchange import Memory
from ..networks.blocks import Noisy
from ..runtime.options import Execution, TrainerOptions
from .compiled import CompiledNets
from .graph import StepGraph

Players = Callable[[nn.ModuleDict], Mapping[str, list[Any]]]  # of nets: name -> parameters, or torch's parameter groups


class Slot:
    """`nets` on the device; `players`: name -> parameters, and `optimizers`, one a player; `tensors`: all of the nets' by path,
    and `paths` by a parameter's id; `memory`; `received`, the server's model as it came, or None; the `stream` on which a GPU
    works for this slot; the `graphs` of the steps that it plays back here, and how often a step was `seen` before; the `compiled`
    nets, where steps are to be compiled.
    """

    def __init__(self, nets: nn.ModuleDict, players: Players, options: TrainerOptions, device: torch.device) -> None:
        self.nets, self.device = nets, device
        groups = players(nets)
        self.players = {player: _flat(parameters) for player, parameters in groups.items()}
        self.optimizers = {player: new_optimizer(parameters, options, device) for player, parameters in groups.items()}
        self.tensors = dict(nets.named_parameters()) | dict(nets.named_buffers())
        self.paths = {id(parameter): path for path, parameter in nets.named_parameters()}
        self.memory = Memory(device)
        self.noise = torch.Generator(device)
        for module in nets.modules():
            if isinstance(module, Noisy):
                module.generator = self.noise
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.graphs: OrderedDict[Hashable, StepGraph] = OrderedDict()
        self.seen: Counter[Hashable] = Counter()
        self.pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self.compiled = CompiledNets(nets, self.noise) if options.execution is Execution.compiled else None
        self._received: dict[torch.Size, Tensor] = {}  # each shape has an address of its own, which never changes
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

    def numbers(self) -> tuple[Hashable, ...]:
        """The plain numbers in memory by name: a step may do one thing or another by them."""
        return tuple((name, value) for name, value in self.memory.items() if not isinstance(value, Tensor))

    def facts(self) -> tuple[Hashable, ...]:
        """What a step may read besides the tensors of nets and batch: numbers, and the addresses and forms of tensors."""
        tensors = {**self.memory, "received": self.received} if self._shape is not None else self.memory
        return tuple(
            (name, value.data_ptr(), value.shape, value.dtype) if isinstance(value, Tensor) else (name, value)
            for name, value in sorted(tensors.items())
        )

    # --- the order of a GPU's work -----------------------------------------------------------------------------------

    def follow(self) -> None:
        """Whatever a GPU does for this slot from here on waits for all that it was given before."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    def on_stream(self) -> AbstractContextManager[Any]:
        """Inside, a GPU queues work on the slot's own stream, beside that of other slots."""
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def join(self) -> None:
        """Whatever a GPU is given from here on waits for all that it does for this slot."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def wait(self) -> None:
        """Wait until a GPU has done all that it was given for this slot."""
        if self.stream is not None:
            self.stream.synchronize()

    def renew_noise(self) -> None:
        """Put random streams back to their last seeds: some versions of torch leave them as if a failed recording went on."""
        if self.device.type == "cuda":
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            for used in (self.noise, torch.cuda.default_generators[index]):
                fresh = torch.Generator(self.device).manual_seed(used.initial_seed())
                used.graphsafe_set_state(fresh.graphsafe_get_state())

    # --- the state of the site ---------------------------------------------------------------------------------------

    def rate(self, factor: float) -> None:
        """Set every learning rate to its start value times the factor."""
        for made in self.optimizers.values():
            for group in made.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(group["initial_lr"] * factor)
                else:
                    group["lr"] = group["initial_lr"] * factor

    def weights(self) -> dict[str, Any]:
        """All tensors of the nets and the memory, by reference: what the site serves with."""
        return {"tensors": dict(self.tensors), "memory": dict(self.memory)}

    def optimizer_state(self) -> dict[str, Any]:
        """Player -> index of its parameter -> the optimiser's tensors, by reference."""
        return {name: made.state_dict()["state"] for name, made in self.optimizers.items()}

    def load(self, tensors: Mapping[str, Tensor], memory: Mapping[str, Any]) -> None:
        """Copy the state of nets and memory into this slot."""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(tensors[name], non_blocking=True)
        self.memory.restore(memory)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Whatever happens to the nets, the memory and the stream of noise inside is undone afterwards."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        memory, noise = self.memory.snapshot(), self.noise.get_state()
        try:
            yield
        finally:
            self.load(tensors, memory)
            self.noise.set_state(noise)

    def load_optimizers(self, saved: Mapping[str, Mapping[Any, Mapping[str, Tensor]]]) -> None:
        """Copy what `optimizer_state` gave into this slot's optimisers; a parameter that is not there has never moved."""
        for made in self.optimizers.values():
            for entry in made.state.values():
                for value in entry.values():
                    value.zero_()
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


def new_optimizer(parameters: list[Any], options: TrainerOptions, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser of a player, which has these parameters or torch's parameter groups.

    On a GPU its learning rate is a tensor, so that a recorded step reads the rate of the round.
    """
    made = options.optimizer.make(
        parameters, torch.tensor(options.lr, device=device) if device.type == "cuda" else options.lr
    )
    for group in made.param_groups:
        group["initial_lr"] = float(group["lr"])
        if device.type == "cuda":  # a tensor of the group's own: groups may have shared one
            group["lr"] = torch.tensor(group["initial_lr"], device=device)
    return made


def _flat(parameters: list[Any]) -> list[Tensor]:
    """The parameters of a list, or of a list of torch's parameter groups."""
    if parameters and isinstance(parameters[0], dict):
        return [parameter for group in parameters for parameter in group["params"]]
    return list(parameters)
