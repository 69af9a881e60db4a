"""States on the disk: a tree of dicts, lists, numbers, strings and tensors is one safetensors file, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .atomic import atomic_file

_TENSOR = "$tensor"


def save(path: Path, tree: dict[str, Any]) -> None:
    """Replace the file at `path` by this state: whoever reads it finds the old state or the new one, even after a crash."""
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
    with atomic_file(path) as scratch:
        save_file(tensors, scratch, {"tree": structure})


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """The tree that `save` wrote, with its tensors on `device`; keys have become strings, and tuples lists."""
    with safe_open(path, framework="pt", device=str(device)) as file:

        def fill(node: Any) -> Any:
            if isinstance(node, dict):
                if _TENSOR in node:
                    return file.get_tensor(node[_TENSOR])
                return {key: fill(value) for key, value in node.items()}
            if isinstance(node, list):
                return [fill(value) for value in node]
            return node

        tree: dict[str, Any] = fill(json.loads(file.metadata()["tree"]))
    return tree


def tree_digest(tree: Any) -> str:
    """The SHA-256 of a tree's tensors and numbers with their names; the order in which its dicts were filled changes nothing."""
    total = hashlib.sha256()

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            for key in sorted(node):
                total.update(repr(key).encode())
                visit(node[key])
        elif isinstance(node, Tensor):
            total.update(f"{node.dtype}{tuple(node.shape)}".encode())
            total.update(node.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        else:
            total.update(repr(node).encode())

    visit(tree)
    return total.hexdigest()
