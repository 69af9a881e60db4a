"""What sites and server send each other, and what they remember: tensors and plain numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import torch
from torch import Tensor


class ContractError(RuntimeError):
    """A method breaks the contract; the error names the method, the rule and what the rule is for."""


Value = Tensor | float | int


class Message(dict[str, Value]):
    """What one site sends or is sent: a dict of tensors and plain numbers.

    The usual keys are `model` and `buffers`, the flat vectors of what travels, and `weight`, a number; a method adds others.

    Example:
        >>> message = Message(model=torch.zeros(3), weight=12)
        >>> message.model.shape, message["weight"]
        (torch.Size([3]), 12)
    """

    @property
    def model(self) -> Tensor:
        """The flat vector of the parameters that travel."""
        return self.tensor("model")

    @property
    def buffers(self) -> Tensor:
        """The flat vector of the buffers that travel."""
        return self.tensor("buffers")

    def tensor(self, key: str) -> Tensor:
        """The tensor under a key.

        Raises:
            KeyError: There is nothing under the key.
            TypeError: There is a number.
        """
        value = self[key]
        if not isinstance(value, Tensor):
            raise TypeError(f"message[{key!r}] is the number {value}, not a tensor")
        return value

    def is_finite(self) -> bool:
        """Whether all its numbers are finite."""
        numbers = [torch.as_tensor(value) for value in self.values()]
        return all(bool(value.isfinite().all()) for value in numbers if value.is_floating_point())

    def delivered(self) -> Message:
        """The message as it arrives: a copy, so that neither side can write into what the other holds."""
        return Message({key: value.clone() if isinstance(value, Tensor) else value for key, value in self.items()})


class Memory(MutableMapping[str, Value]):
    """What a method remembers of a site or of the server: a dict of tensors and plain numbers, and nothing else.

    A tensor of the same shape and type is written in place, so that its address does not change; any other tensor is copied in.

    Args:
        device: Where tensors are kept; None keeps each where it came from.

    Raises:
        ContractError: A key is not a string, or a value is neither a tensor nor a number.

    Example:
        >>> memory = Memory()
        >>> memory["drift"] = torch.zeros(2)
        >>> drift = memory.tensor("drift")
        >>> memory["drift"] = torch.ones(2)
        >>> drift
        tensor([1., 1.])
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device
        self._items: dict[str, Value] = {}
        self._spare: dict[str, Tensor] = {}  # what `restore` took out; it comes back at its old address

    def __getitem__(self, key: str) -> Value:
        return self._items[key]

    def tensor(self, key: str) -> Tensor:
        """The tensor under a key.

        Raises:
            KeyError: There is nothing under the key.
            TypeError: There is a number.
        """
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
                if isinstance(held, Tensor) and held.is_cuda:  # work that is queued may still read it
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
        """A copy, for `restore`."""
        return {key: value.clone() if isinstance(value, Tensor) else value for key, value in self._items.items()}

    def restore(self, snapshot: Mapping[str, Value]) -> None:
        """Hold what the snapshot holds and nothing else, in place."""
        for key in set(self._items) - set(snapshot):
            if isinstance(value := self._items.pop(key), Tensor):
                self._spare[key] = value
        self.update(snapshot)
