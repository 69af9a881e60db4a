"""The model of a finished run: one file with all that its sites and its server serve with in the selected round.

Optimisers are left out, and of a site's nets what changes nothing that it serves: what is overwritten by what the site is sent
before it serves, and discriminators where the method trains no more. Both are tried: with its start in their place the site is
the same then, or answers the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..evaluation.evaluate import deliver, serving
from ..exchange import Message
from ..method import Method
from ..runtime import checkpoint
from ..server import Server
from ..site import SiteState
from ..site.offload import HOST, copied
from .server_party import ServerParty

MODEL = "model.safetensors"


def save_model(folder: Path, round: int, method: Method, server: ServerParty, sites: Mapping[str, SiteState]) -> None:
    """Write what they serve with now, after that round."""
    trained = {name: site.state[1] for name, site in sites.items()}
    own = {name: own_weights(method, server.download(name), site) for name, site in sites.items() if trained[name]}
    checkpoint.save(folder / MODEL, {"round": round, "trained": trained, "server": server.server.tree(), "sites": own})


def own_weights(method: Method, message: Message, site: SiteState) -> dict[str, Any]:
    """The memory of a site, and the tensors of its nets that change what it serves."""
    left_out: set[str] = set()
    if _sent(method, message, site) == _sent(method, message, site, site.held):
        left_out |= site.held
    judges = {path for path in site.tensors if path.startswith("discriminators.")}
    trains_no_more = type(method).personalise is Method.personalise
    if trains_no_more and _answers(method, message, site) == _answers(method, message, site, judges):
        left_out |= judges
    kept = {path: tensor for path, tensor in site.tensors.items() if path not in left_out}
    return copied({"tensors": kept, "memory": dict(site.memory)}, HOST)  # the slot is soon another site's


def _sent(method: Method, message: Message, site: SiteState, unknown: Collection[str] = ()) -> str:
    """A digest of a site as it is after it was sent what it serves with. Those at the `unknown` paths are its start before."""
    with site.preserved(), site.hook("serve"):
        _forget(site, unknown)
        try:
            deliver(method, message, site)
        except Exception as error:  # of a method that computes with what the site had
            return f"{sorted(unknown)}: {error}"
        return checkpoint.tree_digest(site.slot.weights())


def _answers(method: Method, message: Message, site: SiteState, unknown: Collection[str] = ()) -> str:
    """A digest of what a site makes of a slice for each task; the tensors at the `unknown` paths are its start then."""
    with site.preserved():
        _forget(site, unknown)  # before the site is sent anything, from which it may compute a loss
        try:
            with serving(method, message, site), torch.no_grad():
                made = [
                    site.answer(feed.batch(task, feed.rows["val"][:1]))
                    for feed in site.feeds.values()
                    for task in feed.tasks
                ]
        except Exception as error:  # as above
            return f"{sorted(unknown)}: {error}"
        return checkpoint.tree_digest(dict(enumerate(made)))


def _forget(site: SiteState, paths: Collection[str]) -> None:
    nets = site.start()
    start = dict(nets.named_parameters()) | dict(nets.named_buffers())
    for path in paths:
        site.tensors[path].detach().copy_(start[path].detach())


def load_model(folder: Path, server: Server, sites: Mapping[str, SiteState], device: torch.device) -> int:
    """Make the sites and the server what they were when `save_model` wrote; returns the round.

    Raises:
        ValueError: There is no trained model in the folder.
        CheckpointError: It was damaged.
    """
    if not (folder / MODEL).exists():
        raise ValueError(f"{folder} holds no trained model: a run leaves it where it was trained")
    tree = checkpoint.load(folder / MODEL, device)
    server.restore(tree["server"])
    for name, site in sites.items():
        site.enter(tree["round"])
        if own := tree["sites"].get(name):
            tensors: dict[str, Tensor] = {**site.tensors, **own["tensors"]}
            site.slot.load(tensors, own["memory"])
            site.state = (name, tree["trained"][name])
    return int(tree["round"])
