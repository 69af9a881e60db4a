"""The server: what it holds between rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..exchange import Memory, Message, Plan
from ..runtime.options import ServerRule, TrainerOptions
from ..site import SiteState
from . import rules


class Server:
    """`model` and `buffers`: the flat vectors of what travels; `memory`: whatever a method adds; `names`: all sites;
    `rounds` of the run, and its `seed` for streams of the server's own."""

    def __init__(
        self,
        plan: Plan,
        sites: Mapping[str, SiteState],
        build: Callable[[int], nn.ModuleDict],
        options: TrainerOptions,
        seed: int,
    ) -> None:
        self.plan, self.names = plan, tuple(sites)
        self._build, self._options = build, options
        self.rounds, self.seed = options.rounds, seed
        self.samples = {name: site.samples for name, site in sites.items()}
        self.held = {name: site.held for name, site in sites.items()}
        self.model, self.buffers = self.fresh(0)
        self.memory = Memory()

    def fresh(self, variant: int) -> tuple[Tensor, Tensor]:
        """Another common start: the travelling parameters and buffers of newly drawn nets; 0 is the one all begin with."""
        nets = self._build(variant)
        named = dict(nets.named_parameters()) | dict(nets.named_buffers())
        return self.plan.model.pack(named), self.plan.buffers.pack(named)

    def tree(self) -> dict[str, Any]:
        """All that it holds, by reference."""
        return {"model": self.model, "buffers": self.buffers, "memory": dict(self.memory)}

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Take over what `tree` gave."""
        self.model, self.buffers = tree["model"], tree["buffers"]
        self.memory.restore(tree["memory"])

    def settle(self) -> None:
        """Make `model` and `buffers` vectors of their own: an aggregation may have set them to what its memory holds."""
        self.model, self.buffers = self.model.clone(), self.buffers.clone()

    def mean(self, uploads: Mapping[str, Message], key: str, weights: Mapping[str, float] | None = None) -> Tensor:
        """Weighted mean of a vector that all uploads hold, by their own weights if none are given; or what the run's
        `trainer.server_rule` takes in its place.

        Taken tensor by tensor over the sites that have it; `model` and `buffers` keep the server's value where none does,
        other vectors are 0 there.
        """
        rows = (
            (message.tensor(key), float(message["weight"]) if weights is None else weights[name], self.held[name])
            for name, message in uploads.items()
        )
        otherwise = {"model": self.model, "buffers": self.buffers}.get(key)
        layout = self.plan.buffers if key == "buffers" else self.plan.model
        rule, corrupt = self._options.server_rule, self._options.corrupt
        if rule is ServerRule.mean:
            return layout.mean(rows, otherwise)
        vectors, shares, held = (list(column) for column in zip(*rows, strict=True))
        reference = torch.zeros_like(vectors[0]) if otherwise is None else otherwise
        if rule is ServerRule.norm_clip:
            clipped = rules.clipped(layout.stack(vectors, held), reference)
            return layout.mean(zip(clipped, shares, held, strict=True), reference)
        if rule is ServerRule.krum:
            models = [message.model for message in uploads.values()]
            found = layout.stack(vectors, held)[rules.krum(self.plan.model.stack(models, held), corrupt)]
        else:
            share = 0.5 if rule is ServerRule.median else corrupt
            found = rules.trimmed_mean(layout.stack(vectors, held), share).to(reference.dtype)
        return torch.where(found.isnan(), reference, found)
