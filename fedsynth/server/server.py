"""The server: what it holds between rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..exchange import Memory, Message, Plan
from ..runtime.options import ServerRule, TrainerOptions
from . import rules


class Server:
    """What a method's server rule works on. The trainer makes it.

    Attributes:
        model: The flat vector of the parameters that travel.
        buffers: The flat vector of the buffers that travel.
        memory: Whatever else the method remembers.
        names: The names of all sites that train.
        samples: Name -> the number of training slices there.
        held: Name -> the paths of the tensors that travel and that the site has.
        plan: Which tensors travel.
        rounds: How many rounds the run has.
        seed: Of the run, for streams of the server's own.

    Example:
        >>> from fedsynth import Method
        >>> class Slow(Method):
        ...     def aggregate(self, server, uploads):
        ...         server.model = (server.model + server.mean(uploads, "model")) / 2
    """

    def __init__(
        self,
        plan: Plan,
        samples: Mapping[str, int],
        held: Mapping[str, frozenset[str]],
        build: Callable[[int], nn.ModuleDict],
        options: TrainerOptions,
        seed: int,
    ) -> None:
        self.plan, self.names, self.samples, self.held = plan, tuple(samples), samples, held
        self._build, self._options = build, options
        self.rounds, self.seed = options.rounds, seed
        self.model, self.buffers = self.fresh(0)
        self.memory = Memory()
        self.too_few = False  # whether in this round too few sites sent a model for the run's server rule
        self._starts: dict[str, Tensor] = {}  # in round 1, the parameters of sites with weights of their own

    def fresh(self, variant: int) -> tuple[Tensor, Tensor]:
        """The parameters and the buffers that travel of newly drawn nets; variant 0 is the start that all sites have."""
        named = _tensors(self._build(variant))
        return self.plan.model.pack(named), self.plan.buffers.pack(named)

    def start_from(self, starts: Mapping[str, Callable[[], nn.ModuleDict]], weights: Mapping[str, float]) -> None:
        """Hold the weighted mean of the sites' own starts, until round 1 is aggregated; what none of them has stays as it is."""
        buffers = {}
        for name, start in starts.items():
            named = _tensors(start())
            self._starts[name], buffers[name] = self.plan.model.pack(named), self.plan.buffers.pack(named)
        self.model, self.buffers = (
            layout.mean(((vector, weights[name], self.held[name]) for name, vector in vectors.items()), otherwise)
            for layout, vectors, otherwise in (
                (self.plan.model, self._starts, self.model),
                (self.plan.buffers, buffers, self.buffers),
            )
        )

    def began(self, name: str) -> Tensor:
        """The parameters from which a site's training in this round began: `model`, or in round 1 of a run without a common start
        the site's own."""
        start = self._starts.get(name)
        if start is None:
            return self.model
        return start.where(self.plan.model.where(lambda place: place.path in self.held[name], start.device), self.model)

    def tree(self) -> dict[str, Any]:
        """All that the server holds, by reference."""
        return {"model": self.model, "buffers": self.buffers, "memory": dict(self.memory)}

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Hold what `tree` gave."""
        self.model, self.buffers = tree["model"], tree["buffers"]
        self.memory.restore(tree["memory"])

    def settle(self) -> None:
        """End an aggregation: `model` and `buffers` become vectors of their own, as it may have set them to what memory holds."""
        self.model, self.buffers, self._starts = self.model.clone(), self.buffers.clone(), {}
        self.too_few = False

    def has_enough(self, uploads: Mapping[str, Message]) -> bool:
        """Whether the run's server rule can make one vector of so many uploads. Krum needs some; the others become the plain mean
        of few. Either is noted in `too_few`."""
        rule = self._options.server_rule
        effect = rules.has_effect(rule, self._options.corrupt, len(uploads))
        self.too_few |= not effect
        return effect or rule is not ServerRule.krum

    def mean(self, uploads: Mapping[str, Message], key: str, weights: Mapping[str, float] | None = None) -> Tensor:
        """The weighted mean of a vector that all uploads hold, or what the run's `trainer.server_rule` takes in its place.

        It is taken tensor by tensor over the sites that have the tensor. Where none has it, or where Krum has too few uploads,
        `model` and `buffers` keep the server's value, and other vectors are 0.

        Args:
            uploads: What the sites sent, by name.
            key: The vector's key in the messages.
            weights: Name -> the site's weight; by default the `weight` in its message.
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
        if not self.has_enough(uploads):
            return reference.clone()
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


def _tensors(nets: nn.ModuleDict) -> dict[str, Tensor]:
    return dict(nets.named_parameters()) | dict(nets.named_buffers())
