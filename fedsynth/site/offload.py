"""The states of sites that have no slot: in the host's memory or on the disk, where a checkpoint finds them.

A state is named by its site and the last round in which the site trained. It has two files, the weights that the site serves
with and what its optimisers hold. They are written once and never changed, so that a checkpoint only names rounds. A site that
never trained has no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..runtime import checkpoint
from ..runtime.device import trim

State = tuple[str, int]  # a site's name, and the last round in which it trained
Tree = dict[str, Any]
PARTS = ("weights", "optimizers")
HOST = torch.device("cpu")
AHEAD = 1  # states that may wait in memory to be written to the disk


class OffloadStore:
    """States on the disk, in `folder`, or in memory until they are to be written. A thread reads and writes while sites train."""

    def __init__(self, folder: Path, names: Iterable[str], on_disk: bool, device: torch.device) -> None:
        self.folder, self.on_disk, self._device = folder / "sites", on_disk, device
        self._numbers = {name: number for number, name in enumerate(sorted(names))}
        self._held: dict[State, Tree] = {}
        self._coming: dict[State, Future[Tree]] = {}
        self._going: dict[State, Future[None]] = {}
        self._thread = ThreadPoolExecutor(1)

    def keep(self, state: State, tree: Tree) -> None:
        """Take over a copy of a site's state: {"weights": ..., "optimizers": ...}."""
        if state[1] and state not in self._held and not (self.on_disk and self.written(state)):
            if len(self._going) >= AHEAD:
                self._settle()
            self._held[state] = copied(tree, self._device)
            if self.on_disk:
                if self._device.type == "cuda":
                    torch.cuda.current_stream(self._device).synchronize()  # the copy has arrived
                self._going[state] = self._thread.submit(self._write, state, self._held[state])

    def expect(self, state: State) -> None:
        """Begin to read a state that will soon be asked for."""
        if state[1] and state not in self._held and state not in self._coming and self.written(state):
            self._coming[state] = self._thread.submit(self._read, state)

    def find(self, state: State) -> Tree | None:
        """The state that `keep` took over; None for a site that never trained."""
        if not state[1]:
            return None
        if state in self._going:
            self._settle()
        if state in self._held:
            return self._held.pop(state)
        return self._coming.pop(state).result() if state in self._coming else self._read(state)

    def held(self, state: State) -> Tree | None:
        """A state that is in memory, where it is left; else None."""
        return self._held.get(state)

    def weights(self, state: State) -> Tree:
        """The weights of a written state."""
        self._settle()
        return checkpoint.load(self._path(state, "weights"), HOST)

    def write(self, state: State, tree: Tree) -> None:
        """Put a state on the disk, unless it is there."""
        self._settle()
        if state[1] and not self.written(state):
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self._write(state, tree)

    def written(self, state: State) -> bool:
        """Whether a state is on the disk."""
        return self._path(state, PARTS[-1]).exists()

    def check(self, state: State) -> None:
        """Raises CheckpointError where a file of a state was damaged since it was written. Sites of another run have none."""
        for part in PARTS if state[1] and state[0] in self._numbers else ():
            if (path := self._path(state, part)).exists():
                checkpoint.load(path, HOST)

    def forget_all_but(self, states: Iterable[State]) -> None:
        """Delete the files of all other states."""
        self._settle()
        needed = set(states)
        self._coming = {state: reading for state, reading in self._coming.items() if state in needed}
        kept = {self._path(state, part) for state in needed for part in PARTS}
        for path in self.folder.glob("*"):  # what a process that was killed left half written too
            if path not in kept:
                path.unlink()

    def _settle(self) -> None:
        """Wait until all is written, or raise what went wrong; what was written leaves the memory."""
        for state, writing in self._going.items():
            writing.result()
            self._held.pop(state, None)
        if self._going:
            self._going.clear()
            trim()

    def _write(self, state: State, tree: Tree) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            checkpoint.save(self._path(state, part), tree[part])

    def _read(self, state: State) -> Tree:
        return {part: checkpoint.load(self._path(state, part), HOST) for part in PARTS}

    def _path(self, state: State, part: str) -> Path:
        site, trained = state
        return self.folder / f"{self._numbers[site]}-round-{trained}-{part}.safetensors"


def copied(node: Any, device: torch.device) -> Any:
    """A tree with its tensors copied into host memory, page-locked where a GPU is to fetch them from."""
    if isinstance(node, Tensor):
        there = torch.empty_like(node, device="cpu", pin_memory=device.type == "cuda")
        there.copy_(node.detach(), non_blocking=True)
        return there
    return {key: copied(value, device) for key, value in node.items()} if isinstance(node, Mapping) else node
