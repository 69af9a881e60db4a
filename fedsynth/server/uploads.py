"""What sites have sent in a round, until it is aggregated: a few on the device, the others in host memory or on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ..exchange import Message
from ..runtime import checkpoint
from ..runtime.options import Offload, TrainerOptions


class Uploads(Mapping[str, Message]):
    """Site name -> its message, in the order of names. Those beyond `options.resident` are fetched when they are asked for: going
    through them one by one needs memory for one at a time."""

    def __init__(self, folder: Path, options: TrainerOptions, device: torch.device) -> None:
        self._folder, self._options, self._device = folder, options, device
        self._at: dict[str, Message | Path] = {}

    def add(self, site: str, message: Message) -> None:
        """Take over a message; nobody may write into it any more."""
        if len(self._at) < self._options.resident:
            self._at[site] = message
        elif self._options.offload is Offload.host:
            self._at[site] = _to(message, torch.device("cpu"))
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._at[site] = path = self._folder / f"{len(self._at)}.safetensors"
            checkpoint.save(path, dict(message))

    def clear(self) -> None:
        """Forget all messages."""
        self._at.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __getitem__(self, site: str) -> Message:
        message = self._at[site]
        return _to(
            Message(checkpoint.load(message, self._device)) if isinstance(message, Path) else message, self._device
        )

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._at))

    def __len__(self) -> int:
        return len(self._at)


def _to(message: Message, device: torch.device) -> Message:
    return Message(
        {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in message.items()}
    )
