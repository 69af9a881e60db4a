"""Whether a method kept its attributes: what it keeps on itself is not saved, and another run would find it there."""

from __future__ import annotations

from typing import Any

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


def _mark(value: Any) -> object:
    """What tells a value from a later one: of tensors and nets who they are and how often they were written, else the text."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, nn.Module):
        return id(value), [_mark(tensor) for tensor in (*value.parameters(), *value.buffers())]
    if isinstance(value, dict):
        return [(_mark(key), _mark(own)) for key, own in value.items()]
    if isinstance(value, list | tuple):
        return [_mark(own) for own in value]
    return repr(value)
