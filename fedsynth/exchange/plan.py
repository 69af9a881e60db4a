"""Which tensors travel, laid end to end in flat vectors; their bytes and their mean.

What travels of one site is one flat float vector of parameters and one of buffers; integers never travel. All sites share one
layout. A site that lacks a net, because it has no such task, keeps what it received in that part of the vector, and that part
is neither averaged nor counted in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate

import torch
from torch import Tensor, nn

from .messages import Value
from .places import Place, places

BLOCK = 1 << 18  # numbers that are added up at a time: in the processor's cache that is several times faster


@dataclass(frozen=True, eq=False)
class VectorLayout:
    """Tensors laid end to end in one flat vector.

    Args:
        places: Where each tensor sits in the nets.
        shapes: The shape of each.
    """

    places: tuple[Place, ...]
    shapes: tuple[torch.Size, ...]

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """How many numbers each tensor has."""
        return tuple(shape.numel() for shape in self.shapes)

    @cached_property
    def offsets(self) -> dict[str, tuple[int, int, torch.Size]]:
        """Path -> (start, stop, shape)."""
        stops = tuple(accumulate(self.lengths))
        rows = zip(self.places, self.lengths, stops, self.shapes, strict=True)
        return {place.path: (stop - length, stop, shape) for place, length, stop, shape in rows}

    @property
    def numel(self) -> int:
        """How many numbers the vector has."""
        return sum(self.lengths)

    def part(self, vector: Tensor, path: str) -> Tensor:
        """The view of one tensor in a flat vector."""
        start, stop, shape = self.offsets[path]
        return vector[start:stop].view(shape)

    def pack(self, tensors: Mapping[str, Tensor], otherwise: Tensor | None = None) -> Tensor:
        """A new vector of the tensors, by path; a part whose tensor is missing is taken from `otherwise`, or is 0."""
        like = next(iter(tensors.values()))
        parts = []
        for path, (start, stop, _) in self.offsets.items():
            if path in tensors:
                parts.append(tensors[path].detach().reshape(-1))
            else:
                parts.append(like.new_zeros(stop - start) if otherwise is None else otherwise[start:stop])
        return torch.cat(parts) if parts else torch.zeros(0, device=like.device)

    def unpack(self, vector: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Write the parts of a flat vector into the tensors, by path, in place; parts without a tensor are left out."""
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
        """The weighted mean of flat vectors, each tensor over the sites that hold it, with their weights renormalised.

        It is summed in float64 in the given order and cast once, so that the mean of equal vectors has every bit of them.

        Args:
            rows: Each site's vector, its weight and the paths that it holds; they are taken one by one.
            otherwise: The values of what no site holds; None for 0.
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


class Plan:
    """Which parameters and buffers travel, decided once by the method, tensor by tensor.

    Args:
        nets: The nets of a site with every task.
        travels: Says of the place of each parameter and buffer of a floating type whether it travels.

    Attributes:
        model: The layout of the parameters that travel.
        buffers: The layout of the buffers that travel.

    Example:
        >>> nets = nn.ModuleDict({"generator": nn.Linear(3, 2), "head": nn.Linear(2, 1)})
        >>> plan = Plan(nets, lambda place: place.net == "generator")
        >>> plan.model.numel, list(plan.model.offsets)
        (8, ['generator.weight', 'generator.bias'])
        >>> plan.model.pack(dict(nets.named_parameters())).shape
        torch.Size([8])
    """

    def __init__(self, nets: nn.ModuleDict, travels: Callable[[Place], bool]) -> None:
        chosen = [(place, tensor.shape) for place, tensor in places(nets) if travels(place)]
        self.model = self._layout([row for row in chosen if not row[0].is_buffer])
        self.buffers = self._layout([row for row in chosen if row[0].is_buffer])

    @staticmethod
    def _layout(rows: list[tuple[Place, torch.Size]]) -> VectorLayout:
        return VectorLayout(tuple(place for place, _ in rows), tuple(shape for _, shape in rows))

    def nbytes(self, message: Mapping[str, Value], held: frozenset[str]) -> int:
        """The bytes of a message to or from a site: the numbers of its tensors times the size of a number.

        A stack of vectors counts as so many vectors; plain numbers, such as a weight or a choice, are not counted.

        Args:
            message: What is sent.
            held: The paths of the tensors that the site holds; the parts of others are not counted.
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
