"""What travels between sites and server: places, the plan made of them, flat vectors, their bytes and their mean.

Everything that travels of one site is one flat float vector of parameters and one of buffers; integers never travel. All
sites share one layout. A site that lacks a net (it has no such task) keeps what it received in that part of the vector, and
that part is neither averaged nor counted in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .networks.network import Generator, Role

BLOCK = (
    1 << 18
)  # numbers that are added up at a time: they stay in a processor's cache, several times faster than all at once


class ContractError(RuntimeError):
    """A method breaks the contract; the message names the method, the rule and what the rule is for."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a parameter or buffer sits: all that a method may ask when it decides what travels.

    `net` is the top-level name ("generator", "discriminators", or a method's own), `task` the task of a discriminator.
    Inside a generator `role` is its stage's, `index` counts the stages of that role from 1 to `count`, and `depth` in [0, 1]
    is the stage's position among all that are not conditioning (a conditioning stage has the depth of the stage it follows).
    """

    path: str
    net: str
    task: str | None
    role: Role | None
    index: int
    count: int
    depth: float
    owner: nn.Module
    ancestors: tuple[nn.Module, ...]
    is_buffer: bool

    def within(self, *types: type[nn.Module]) -> bool:
        """Whether the owner or a module around it is one of these types."""
        return isinstance(self.owner, types) or any(isinstance(module, types) for module in self.ancestors)


def leaves(nets: nn.ModuleDict, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The nets of a (nested) ModuleDict with their dotted names."""
    for name, net in nets.items():
        if isinstance(net, nn.ModuleDict):
            yield from leaves(net, f"{prefix}{name}.")
        else:
            yield prefix + name, net


_Seat = tuple[Role | None, int, int, float]  # role, index, count, depth of a Place
_NOWHERE: _Seat = (None, 0, 0, 0.0)


def _seats(generator: Generator) -> dict[int, _Seat]:
    """id of each module in a stage -> its seat."""
    stages = generator.stages()
    backbone = sum(role is not Role.conditioning for role, _ in stages)
    seats: dict[int, _Seat] = {}
    seen, passed = dict.fromkeys(Role, 0), 0
    for role, module in stages:
        seen[role] += 1
        passed += role is not Role.conditioning
        count = sum(other is role for other, _ in stages)
        seat = (role, seen[role], count, max(passed - 1, 0) / max(backbone - 1, 1))
        seats |= dict.fromkeys(map(id, module.modules()), seat)
    return seats


def places(nets: nn.ModuleDict) -> list[tuple[Place, Tensor]]:
    """Every floating parameter and buffer of the nets with its place, in the order of the modules."""
    found: list[tuple[Place, Tensor]] = []
    for leaf, net in leaves(nets):
        top, *_, last = leaf.split(".") * 2
        task = last if "->" in last else None
        seats = _seats(net) if isinstance(net, Generator) else {}
        modules = dict(net.named_modules())
        for path, owner in modules.items():
            steps = path.split(".") if path else []
            around = tuple(modules[".".join(steps[:depth])] for depth in range(len(steps)))
            tensors = [(name, tensor, False) for name, tensor in owner.named_parameters(recurse=False)]
            tensors += [(name, tensor, True) for name, tensor in owner.named_buffers(recurse=False)]
            for name, tensor, is_buffer in tensors:
                if tensor.is_floating_point():
                    full = ".".join([leaf, *steps, name])
                    seat = seats.get(id(owner), _NOWHERE)
                    found.append((Place(full, top, task, *seat, owner, around, is_buffer), tensor))
    return found


@dataclass(frozen=True, eq=False)
class Layout:
    """Named tensors laid end to end in one flat vector."""

    places: tuple[Place, ...]
    shapes: tuple[torch.Size, ...]

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        return tuple(shape.numel() for shape in self.shapes)

    @cached_property
    def offsets(self) -> dict[str, tuple[int, int, torch.Size]]:
        """Path -> (start, stop, shape)."""
        stops = tuple(accumulate(self.lengths))
        rows = zip(self.places, self.lengths, stops, self.shapes, strict=True)
        return {place.path: (stop - length, stop, shape) for place, length, stop, shape in rows}

    @property
    def numel(self) -> int:
        return sum(self.lengths)

    def part(self, vector: Tensor, path: str) -> Tensor:
        """The view of one tensor in a flat vector."""
        start, stop, shape = self.offsets[path]
        return vector[start:stop].view(shape)

    def pack(self, tensors: Mapping[str, Tensor], otherwise: Tensor | None = None) -> Tensor:
        """The tensors end to end, copied; a missing one is taken from `otherwise`, or is 0."""
        like = next(iter(tensors.values()))
        parts = []
        for path, (start, stop, _) in self.offsets.items():
            if path in tensors:
                parts.append(tensors[path].detach().reshape(-1))
            else:
                parts.append(like.new_zeros(stop - start) if otherwise is None else otherwise[start:stop])
        return torch.cat(parts) if parts else torch.zeros(0, device=like.device)

    def unpack(self, vector: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Write the parts of a flat vector into those of the tensors that are there, in place."""
        held = [(tensors[path], self.part(vector, path)) for path in self.offsets if path in tensors]
        if held:
            with torch.no_grad():
                torch._foreach_copy_([tensor for tensor, _ in held], [part for _, part in held])

    def where(self, rule: Callable[[Place], bool], device: torch.device) -> Tensor:
        """Bool vector `[numel]`: True in the parts whose place fulfils the rule."""
        marks = torch.tensor([rule(place) for place in self.places], dtype=torch.bool, device=device)
        return marks.repeat_interleave(torch.tensor(self.lengths, dtype=torch.long, device=device))

    def stack(self, vectors: Sequence[Tensor], held: Sequence[frozenset[str]]) -> Tensor:
        """The vectors as rows `[K, N]`, NaN where a site does not hold a tensor."""
        rows = zip(vectors, held, strict=True)
        return torch.stack(
            [vector.where(self.where(partial(_held, names), vector.device), torch.nan) for vector, names in rows]
        )

    def mean(self, rows: Iterable[tuple[Tensor, float, frozenset[str]]], otherwise: Tensor | None) -> Tensor:
        """Weighted mean of flat vectors, tensor by tensor over the sites that hold it, weights renormalised.

        `rows`: each site's vector, its weight and the paths that it holds, taken one by one. What no site holds keeps the value
        of `otherwise`, or is 0. Summed in float64 in the order given, cast once, so that equal vectors keep every bit.
        """
        total, dtype, masses = torch.zeros(0), torch.float32, [0.0] * len(self.places)
        for number, (vector, weight, names) in enumerate(rows):
            if not number:
                total, dtype = torch.zeros_like(vector, dtype=torch.float64), vector.dtype
            holds = [place.path in names for place in self.places]
            if not all(holds):
                vector = vector.where(self.where(partial(_held, names), vector.device), 0)
            for sum_, part in zip(total.split(BLOCK), vector.split(BLOCK), strict=True):
                sum_.add_(part.double(), alpha=weight)
            masses = [mass + weight * here for mass, here in zip(masses, holds, strict=True)]
        if masses and min(masses) == max(masses) > 0:
            return total.div_(masses[0]).to(dtype)
        mass = torch.tensor(masses, dtype=torch.float64, device=total.device)
        mass = mass.repeat_interleave(torch.tensor(self.lengths, dtype=torch.long, device=total.device))
        nothing = torch.zeros_like(total) if otherwise is None else otherwise.double()
        return torch.where(mass > 0, total / mass, nothing).to(dtype)


Value = Tensor | float | int


class Message(dict[str, Value]):
    """What one site sends or is sent: `model` and `buffers` (flat vectors), `weight`, and whatever the method adds."""

    @property
    def model(self) -> Tensor:
        return self.tensor("model")

    @property
    def buffers(self) -> Tensor:
        return self.tensor("buffers")

    def tensor(self, key: str) -> Tensor:
        """A vector under this key; TypeError for a number."""
        value = self[key]
        if not isinstance(value, Tensor):
            raise TypeError(f"message[{key!r}] is the number {value}, not a tensor")
        return value

    def delivered(self) -> Message:
        """The message as it arrives: copies, so that neither side can write into what the other holds."""
        return Message({key: value.clone() if isinstance(value, Tensor) else value for key, value in self.items()})


class Plan:
    """Which parameters and buffers travel, decided once by the method, tensor by tensor."""

    def __init__(self, nets: nn.ModuleDict, travels: Callable[[Place], bool]) -> None:
        chosen = [(place, tensor.shape) for place, tensor in places(nets) if travels(place)]
        self.model = self._layout([row for row in chosen if not row[0].is_buffer])
        self.buffers = self._layout([row for row in chosen if row[0].is_buffer])

    @staticmethod
    def _layout(rows: list[tuple[Place, torch.Size]]) -> Layout:
        return Layout(tuple(place for place, _ in rows), tuple(shape for _, shape in rows))

    def nbytes(self, message: Mapping[str, Value], held: frozenset[str]) -> int:
        """Bytes of a message to or from a site that holds the tensors named in `held`: numel x item size of its tensors.

        A stack of vectors counts as so many; plain numbers (a weight, a choice) are not counted.
        """
        total = 0
        for value in message.values():
            if not isinstance(value, Tensor):
                continue
            numel = value.numel()
            for layout in (self.model, self.buffers):
                if layout.numel and value.shape[-1:] == (layout.numel,):
                    absent = sum(n for p, n in zip(layout.places, layout.lengths, strict=True) if p.path not in held)
                    numel -= numel // layout.numel * absent
                    break
            total += numel * value.element_size()
        return total


def _held(names: frozenset[str], place: Place) -> bool:
    return place.path in names


class Memory(MutableMapping[str, Value]):
    """What a method remembers of a site or of the server: tensors and plain numbers, nothing else.

    Setting a tensor of the same shape and type writes in place, so that its address holds; any other tensor is copied in.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device  # where tensors are kept; None: where they come from
        self._items: dict[str, Value] = {}
        self._spare: dict[str, Tensor] = {}  # what `restore` took out: it comes back at its address

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def tensor(self, key: str) -> Tensor:
        """A tensor under this key; TypeError for a number."""
        value = self._items[key]
        if not isinstance(value, Tensor):
            raise TypeError(f"memory[{key!r}] is the number {value}, not a tensor")
        return value

    def __setitem__(self, key: str, value: Value) -> None:
        if not isinstance(key, str):
            raise ContractError(f"a key of memory is a string, not {key!r}, which a checkpoint would turn into one")
        held = self._items.get(key, self._spare.pop(key, None))
        if isinstance(value, Tensor):
            if isinstance(held, Tensor) and held.shape == value.shape and held.dtype == value.dtype:
                with torch.no_grad():
                    held.copy_(value, non_blocking=True)
                self._items[key] = held
            else:
                if isinstance(held, Tensor) and held.is_cuda:  # it may still be read by what was queued
                    held.record_stream(torch.cuda.current_stream(held.device))
                self._items[key] = value.detach().to(self._device or value.device, copy=True)
        elif isinstance(value, bool | int | float):
            self._items[key] = value
        else:
            raise ContractError(
                f"memory[{key!r}] = {type(value).__name__}: memory holds tensors and plain numbers only, so that it can be "
                "saved and resumed; a module belongs in build()"
            )

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def snapshot(self) -> dict[str, Value]:
        return {key: value.clone() if isinstance(value, Tensor) else value for key, value in self._items.items()}

    def restore(self, snapshot: Mapping[str, Value]) -> None:
        """Hold what the snapshot holds and no more, in place."""
        for key in set(self._items) - set(snapshot):
            if isinstance(value := self._items.pop(key), Tensor):
                self._spare[key] = value
        self.update(snapshot)


class _Distance(torch.autograd.Function):
    """1/2 sum |p - v|^2 over lists of tensors, with multi-tensor kernels both ways."""

    @staticmethod
    def forward(ctx: Any, anchors: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gaps = torch._foreach_sub(list(parameters), anchors)
        return torch.stack(torch._foreach_norm(ctx.gaps)).square().sum() / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(ctx.gaps, slope)


class _Inner(torch.autograd.Function):
    """sum <p, v> over lists of tensors: the loss whose gradient is v."""

    @staticmethod
    def forward(ctx: Any, vectors: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.vectors = vectors
        products = torch._foreach_mul(list(parameters), vectors)
        return torch.stack([product.sum() for product in products]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(ctx.vectors, slope)


def distance(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor | float:
    """Half the squared Euclidean distance between parameters and anchors; 0 where there are none."""
    parameters, anchors = zip(*rows, strict=True) if (rows := list(pairs)) else ((), ())
    return _Distance.apply(list(anchors), *parameters) if rows else 0.0


def inner(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor | float:
    """Inner product of parameters and vectors: added to a loss it adds the vectors to the gradient, exactly."""
    parameters, vectors = zip(*rows, strict=True) if (rows := list(pairs)) else ((), ())
    return _Inner.apply(list(vectors), *parameters) if rows else 0.0
