"""A local step as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..feed import Batch


class StepGraph:
    """A local step that is recorded once and then played back. It reads its batch and sums its losses at fixed addresses.

    `backwards`: how many backward passes a playback makes.
    """

    def __init__(self, batch: Batch, roles: list[str], device: torch.device) -> None:
        self.batch = batch.copy()
        self.inputs = self.batch.tensors()
        self.losses = {role: torch.zeros((), device=device) for role in roles}
        self.backwards, self.played = 0, False

    def record(
        self, noise: torch.Generator, pool: Any, stream: torch.cuda.Stream | None, step: Callable[[], None]
    ) -> None:
        """Record a step on `batch` that adds to `losses`; the GPU does none of it."""
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(noise)  # a playback draws from where the stream then stands
        with torch.cuda.graph(self.graph, pool, stream, capture_error_mode="thread_local"):
            step()

    def play(self, batch: Batch) -> None:
        """Do the recorded step on another batch."""
        torch._foreach_copy_(self.inputs, batch.tensors())
        self.graph.replay()
        self.played = True

    def collect(self, losses: dict[str, Tensor]) -> None:
        """Move the sums of the losses into `losses`."""
        if self.played:
            for role, total in self.losses.items():
                losses[role] = losses[role] + total if role in losses else total.clone()
                total.zero_()
            self.played = False
