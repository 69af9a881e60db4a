"""One run of a method, watched: what was sent, what the steps did, what the sites remembered."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedsynth.exchange import Message, places
from fedsynth.feed import Batch
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer import Trainer


@dataclass(frozen=True)
class ObservedStep:
    """A local step.

    `operations`: each with its constants and the shapes of its tensors, in order, yields included. `renumbered`: the plain
    numbers in site.memory that the step changed.
    """

    site: str
    round: int
    task: str
    phase: str
    operations: list[str]
    renumbered: list[str]


class Observation:
    """Runs a trainer to its end and keeps what rules look at; the run itself is the same as one that nobody watches.

    `outcome` and the `trainer` as they are afterwards; `drawn`: the global random streams that it drew from; `messages` with
    what each of them is; `leaks`: the parts of uploads that hold values of tensors that do not travel; `steps`; `shapes` of the
    tensors that a site remembers, after each round.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.messages: list[tuple[str, Message]] = []
        self.leaks: list[str] = []
        self.steps: list[ObservedStep] = []
        self.shapes: dict[int, dict[tuple[str, str], torch.Size]] = defaultdict(dict)
        self._watch("upload", self._upload)
        self._watch("download", self._download)
        self._watch("step", self._step)
        trainer.progress = self._remembered
        streams = _global_streams()
        self.outcome = trainer.run()
        self.drawn = [name for name, state in _global_streams().items() if state != streams[name]]

    def _watch(self, hook: str, watched: Callable[..., Any]) -> None:
        """Put `watched`, which is given the method's own hook first, in the hook's place."""
        original = getattr(self.trainer.method, hook)
        setattr(self.trainer.method, hook, lambda *given: watched(original, *given))

    def _upload(self, original: Callable[[SiteState], Message], site: SiteState) -> Message:
        """The upload is made twice: the first time with NaN in all that does not travel, which is undone afterwards."""
        with site.preserved(), torch.no_grad():
            for place, tensor in places(site.nets):
                if place.path not in site.held:
                    tensor.fill_(torch.nan)
            for key, value in original(site).items():
                if isinstance(value, Tensor) and not torch.isfinite(value).all():
                    self.leaks.append(f"upload[{key!r}]")
        message = original(site)
        self.messages.append((f"upload of {site.name}", message))
        return message

    def _download(self, original: Callable[[Server, str], Message], server: Server, name: str) -> Message:
        message = original(server, name)
        self.messages.append((f"download of {name}", message))
        return message

    def _step(self, original: Callable[[SiteState, Batch], Pairs], site: SiteState, batch: Batch) -> Iterator[Any]:
        before, recorder = _numbers(site), _Recorder()
        phase, pairs = site.phase, original(site, batch)
        while True:
            with recorder:
                pair = next(pairs, None)
            if pair is None:
                break
            recorder.operations.append(f"a yield of {pair[0]}")
            yield pair
        after = _numbers(site)
        changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
        self.steps.append(ObservedStep(site.name, site.round, str(batch.task), phase, recorder.operations, changed))

    def _remembered(self, round: int, rounds: int, site: str, loss: float) -> None:
        memory = self.trainer.sites[site].memory
        self.shapes[round] |= {(site, k): value.shape for k, value in memory.items() if isinstance(value, Tensor)}


def _global_streams() -> dict[str, str]:
    torchs = torch.get_rng_state().numpy().tobytes().hex()
    return {"torch": torchs, "numpy": str(np.random.get_state()), "random": str(random.getstate())}  # noqa: NPY002  # watched


def _numbers(site: SiteState) -> dict[str, Any]:
    return {key: value for key, value in site.memory.items() if not isinstance(value, Tensor)}


class _Recorder(TorchDispatchMode):
    """Notes every operation with its constants and the shapes of its tensors: all that a CUDA graph would freeze."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [x for x in tree_leaves((args, kwargs or {})) if not isinstance(x, torch.Generator)]
        frozen = [tuple(x.shape) if isinstance(x, Tensor) else x for x in given]
        self.operations.append(f"{func.overloadpacket.__name__} {frozen}")
        return func(*args, **(kwargs or {}))
