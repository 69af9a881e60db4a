"""What tests of losses share: the code of the opposite task, and batches in float64."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fedsynth.federation import Task
from fedsynth.feed import Batch
from fedsynth.trainer import Trainer


def squares_to_one(scores: Tensor) -> Tensor:
    return ((scores - 1) ** 2).mean()


def reversed_code(of: Trainer, batch: Batch) -> Tensor:
    """The code of the opposite task at the batch's site."""
    code = torch.from_numpy(of.federation.code(batch.site, Task(batch.task.target, batch.task.source)))
    return code.to(batch.code.dtype).expand_as(batch.code)


def in_float64(batch: Batch) -> Batch:
    kept = {name: getattr(batch, name).double() for name in ("images", "present", "source", "target", "code")}
    return replace(batch, **kept, second=None if batch.second is None else in_float64(batch.second))
