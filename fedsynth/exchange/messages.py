"""What sites and server send each other, and what they remember: tensors and plain numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import torch
from torch import Tensor


class ContractError(RuntimeError):
    """A method breaks the contract; the message names the method, the rule and what the rule is for."""


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
