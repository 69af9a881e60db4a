"""A run's folder: the server and all sites as they were after certain rounds, to go on from or to serve with.

A snapshot is a small file that holds the server and names the state of each site, which lies in a file of its own that other
snapshots may share (offload.py). So writing one costs what has changed, however many sites there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..runtime import checkpoint
from ..runtime.claim import check_claim
from ..server import Server
from ..site.offload import OffloadStore, State
from ..site.slots import SlotPool
from .model import MODEL
from .site_party import Party

LATEST = "checkpoint"  # the name of the snapshot from which a run goes on


def selected(round: int) -> str:
    """The name of the snapshot of a round that was the best so far."""
    return f"selected-round-{round}"


class Snapshots:
    """`names` of the snapshots that there are -> the states of sites that they need."""

    def __init__(
        self, folder: Path, server: Server, parties: Mapping[str, Party], slots: SlotPool, offload: OffloadStore
    ) -> None:
        self._folder, self._server, self._parties, self._slots, self._offload = folder, server, parties, slots, offload
        self.names: dict[str, list[State]] = {}

    def find(self) -> None:
        """Look into the folder, which an earlier process may have filled; delete what it left half written.

        Raises:
            CheckpointError: A snapshot, or a site's state that it names, was damaged.
        """
        for path in self._folder.glob(".*.partial"):
            path.unlink()
        for path in (path for path in self._folder.glob("*.safetensors") if path.name != MODEL):
            trained = checkpoint.load(path, torch.device("cpu"))["trained"]
            self.names[path.stem] = [(name, round) for name, round in trained.items()]
        for state in {state for states in self.names.values() for state in states}:
            self._offload.check(state)

    def write(self, name: str, facts: Mapping[str, Any]) -> None:
        """Put the server and all sites on the disk as they are, and some facts with them."""
        trained = {name: party.keep() for name, party in self._parties.items()}
        checkpoint.save(self._path(name), {"server": self._server.tree(), "trained": trained, **facts})
        self.names[name] = [*trained.items()]

    def read(self, name: str, device: torch.device) -> dict[str, Any]:
        """The facts, with what `recall` needs."""
        return checkpoint.load(self._path(name), device)

    def recall(self, tree: Mapping[str, Any], round: int) -> None:
        """Make server and sites what they were."""
        self._slots.vacate()
        self._server.restore(tree["server"])
        for name, party in self._parties.items():
            party.recall(tree["trained"][name], round)

    def keep(self, names: Iterable[str]) -> None:
        """Delete all other snapshots, and the states that neither these nor the sites' next steps need."""
        check_claim(self._folder)
        kept = set(names)
        for name in self.names.keys() - kept:
            self._path(name).unlink(missing_ok=True)
            del self.names[name]
        needed = [state for states in self.names.values() for state in states]
        self._offload.forget_all_but([*needed, *((name, party.trained) for name, party in self._parties.items())])

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"
