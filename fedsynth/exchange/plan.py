"""Which tensors travel, laid end to end in flat vectors; their bytes and their mean.

Everything that travels of one site is one flat float vector of parameters and one of buffers; integers never travel. All
sites share one layout. A site that lacks a net (it has no such task) keeps what it received in that part of the vector, and
that part is neither averaged nor counted in bytes.
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

BLOCK = 1 << 18  # numbers added up at a time: they stay in the processor's cache, several times faster than all at once


@dataclass(frozen=True, eq=False)
class VectorLayout:
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


class Plan:
    """Which parameters and buffers travel, decided once by the method, tensor by tensor."""

    def __init__(self, nets: nn.ModuleDict, travels: Callable[[Place], bool]) -> None:
        chosen = [(place, tensor.shape) for place, tensor in places(nets) if travels(place)]
        self.model = self._layout([row for row in chosen if not row[0].is_buffer])
        self.buffers = self._layout([row for row in chosen if row[0].is_buffer])

    @staticmethod
    def _layout(rows: list[tuple[Place, torch.Size]]) -> VectorLayout:
        return VectorLayout(tuple(place for place, _ in rows), tuple(shape for _, shape in rows))

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
