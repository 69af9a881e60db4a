"""Whether a method kept its attributes: what it keeps on itself is not saved, and another run would find it there."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..exchange import ContractError


class Attributes:
    """The attributes of a method as they are now, marked so that a later change shows; no value is read from a device."""

    def __init__(self, method: object) -> None:
        self._method, self._held = method, dict(vars(method))  # held, so that no other object takes an old one's place
        self._marks = {name: _mark(value) for name, value in self._held.items()}

    def check_unchanged(self, when: str) -> None:
        """Raises ContractError if an attribute came, went or changed."""
        marks = {name: _mark(value) for name, value in vars(self._method).items()}
        if changed := sorted(name for name in {*marks, *self._marks} if marks.get(name) != self._marks.get(name)):
            raise ContractError(
                f"method {type(self._method).__name__}: its attributes changed {when}: {', '.join(changed)}. A run that is "
                "resumed would be without them; keep in site.memory or server.memory what outlives a step, make nets in "
                "build() and yield (player, loss) in place of an optimiser of your own"
            )


def _mark(value: Any, inside: frozenset[int] = frozenset()) -> object:
    """What tells a value from a later one: of tensors and nets who they are and how often they were written, of arrays and
    generators of random numbers their content, of other objects the text and their attributes. `inside`: the objects that it
    lies in, which are not gone into again."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, torch.Generator):
        return id(value), value.get_state().numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes()
    if isinstance(value, np.random.Generator):
        return id(value), repr(value.bit_generator.state)
    if id(value) in inside:
        return id(value)
    inside |= {id(value)}
    if isinstance(value, nn.Module):
        return id(value), [_mark(tensor) for tensor in (*value.parameters(), *value.buffers())]
    if isinstance(value, dict):
        return [(_mark(key, inside), _mark(own, inside)) for key, own in value.items()]
    if isinstance(value, list | tuple):
        return [_mark(own, inside) for own in value]
    own = getattr(value, "__dict__", None)
    return repr(value), _mark(own, inside) if isinstance(own, dict) and not isinstance(value, ModuleType) else None
