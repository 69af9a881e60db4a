"""States on the disk and messages between parties: a tree of dicts, lists, numbers, strings and tensors is one safetensors
file, whole or not there at all.

A file carries the SHA-256 of what it holds, so that one which was damaged since is never taken for the state.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_message, save as to_message, save_file
from torch import Tensor

from .atomic import atomic_file
from .claim import check_claim

_TENSOR = "$tensor"


class CheckpointError(ValueError):
    """A state on the disk is missing or is not what was written; the message names the file."""


def save(path: Path, tree: dict[str, Any]) -> None:
    """Replace the file at `path` by this state: whoever reads it finds the old state or the new one, even after a crash."""
    tensors, facts = _flat(tree)
    with atomic_file(path) as scratch:
        save_file(tensors, scratch, facts)


def to_bytes(tree: dict[str, Any]) -> bytes:
    """A tree as one message, in the form of a file: whoever reads it runs no code that is in it."""
    return to_message(*_flat(tree))


def _flat(tree: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a tree by number, and all else as text."""
    tensors: dict[str, Tensor] = {}

    def strip(node: Any) -> Any:
        if isinstance(node, Tensor):
            tensors[str(len(tensors))] = node.detach().cpu().contiguous()
            return {_TENSOR: str(len(tensors) - 1)}
        if isinstance(node, dict):
            return {str(key): strip(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [strip(value) for value in node]
        return node

    structure = json.dumps(strip(tree))
    return tensors, {"tree": structure, "sha256": _sha256(structure, tensors)}


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """The tree that `save` wrote, with its tensors on `device`; keys have become strings, and tuples lists.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata()
            tensors = {str(number): file.get_tensor(str(number)) for number in range(len(file.keys()))}
    except (FileNotFoundError, SafetensorError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return _filled(tensors, facts or {}, device, str(path))


def from_bytes(message: bytes, device: torch.device) -> dict[str, Any]:
    """The tree of `to_bytes`.

    Raises:
        CheckpointError: The message was damaged.
    """
    try:
        tensors = from_message(message)
        facts = json.loads(message[8 : 8 + int.from_bytes(message[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"a message of {len(message)} bytes cannot be read: {error}") from error
    return _filled(tensors, facts, device, f"a message of {len(message)} bytes")


def _filled(
    tensors: Mapping[str, Tensor], facts: Mapping[str, str], device: torch.device, origin: str
) -> dict[str, Any]:
    """The tree that `_flat` took apart."""
    if facts.get("sha256") != _sha256(facts.get("tree", ""), tensors):
        raise CheckpointError(f"{origin} is damaged: it does not hold what was written")

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            if _TENSOR in node:
                return tensors[node[_TENSOR]].to(device)
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [fill(value) for value in node]
        return node

    tree: dict[str, Any] = fill(json.loads(facts["tree"]))
    return tree


def _sha256(structure: str, tensors: Mapping[str, Tensor]) -> str:
    """The digest of a stored tree: of its structure, and of the bytes of its tensors in their order."""
    total = hashlib.sha256(structure.encode())
    for number in range(len(tensors)):
        _add(total, tensors[str(number)])
    return total.hexdigest()


def _add(total: hashlib._Hash, tensor: Tensor) -> None:
    """Add the type, shape and bytes of a tensor to a digest."""
    total.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def tree_digest(tree: Any) -> str:
    """The SHA-256 of a tree's tensors and numbers with their names; the order in which its dicts were filled changes nothing."""
    total = hashlib.sha256()

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            for key in sorted(node):
                total.update(repr(key).encode())
                visit(node[key])
        elif isinstance(node, Tensor):
            _add(total, node)
        else:
            total.update(repr(node).encode())

    visit(tree)
    return total.hexdigest()


class RowsFile:
    """Rows that only grow, as a run's curve does, a line each; a checkpoint names how much of the file at `path` it goes with. So
    what is written grows with the rows, and not with the square of the rounds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows, self._bytes, self._digest = 0, 0, hashlib.sha256()

    def extend(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Add to the file those of all rows that it lacks. Returns how much of the file is of these rows, for `read`.

        What lies behind it, of a run that was killed before its checkpoint, is cut off.
        """
        new = "".join(f"{json.dumps(row)}\n" for row in rows[self._rows :]).encode()
        check_claim(self.path)
        with self.path.open("r+b" if self.path.exists() else "xb") as file:
            file.seek(self._bytes)
            file.truncate()
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        self._digest.update(new)
        self._rows, self._bytes = len(rows), self._bytes + len(new)
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}

    def read(self, known: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of that part of the file.

        Raises:
            CheckpointError: It is not there, or not what was written.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(known["bytes"])
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.path} is not there, and its run cannot go on without it") from error
        self._digest = hashlib.sha256(content)
        if self._digest.hexdigest() != known["sha256"]:
            raise CheckpointError(f"{self.path} is damaged: it does not hold what was written")
        rows = [json.loads(line) for line in content.splitlines()]
        self._rows, self._bytes = len(rows), len(content)
        return rows
