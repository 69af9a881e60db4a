"""Several runs share a GPU: each takes the memory that it is estimated to need before it starts, or waits until that is free."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedsynth.exchange import leaves
from fedsynth.federation import Federation
from fedsynth.method import Blueprint

from .config import Run

CONTEXT = 1 << 30  # bytes that CUDA and its libraries take
STATE = 4 * 4  # bytes a parameter: the weight, its gradient, Adam's two moments
MARGIN = 1.5  # for what is freed and not yet reused, and what a method remembers
SECONDS = 5.0


class Produced(TorchDispatchMode):
    """Counts the bytes that operations produce inside."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # torch's signature
        result = func(*args, **(kwargs or {}))
        self.total += sum(leaf.nbytes for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def estimate(run: Run, federation: Federation) -> int:
    """Bytes of the device's memory that a run needs: resident states, slices, and what a step of every site at work produces,
    counted without doing it."""
    blueprint = Blueprint(run.network, federation.columns, federation.all_tasks(), run.seed)
    nets = run.method.build(blueprint)
    parameters = sum(p.numel() for _, net in leaves(nets) for p in net.parameters())
    sites = min(run.trainer.resident, len(federation.names))
    images = torch.empty(run.trainer.batch, 1, *federation.size, device="meta")
    code = torch.empty(run.trainer.batch, federation.columns.length, device="meta")
    judge, generator = run.network.discriminator().to("meta"), run.network.generator(federation.columns).to("meta")
    with Produced() as produced:
        judge(images, generator(images, code))
    slices = sum(len(federation.sites[name].images) for name in federation.names)
    data = slices * len(federation.contrasts) * federation.size[0] * federation.size[1] * 2
    return int(CONTEXT + MARGIN * (sites * (STATE * parameters + 2 * produced.total) + data))


def take(run: Run, federation: Federation, device: torch.device, lock: Path) -> None:
    """Return once the device has room for the run, which this process then holds. Nothing to do on a CPU.

    Raises ValueError for a run that would not fit on the device if it were alone.
    """
    if device.type != "cuda":
        return
    needed = estimate(run, federation)
    whole = torch.cuda.mem_get_info(device)[1]
    if needed > whole:
        raise ValueError(
            f"the run needs about {needed / 2**30:.1f} GiB and the device has {whole / 2**30:.1f}; use a smaller"
            " trainer.resident or trainer.batch, or a narrower network"
        )
    while True:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two that look at once would both see the same free memory
            if torch.cuda.mem_get_info(device)[0] >= needed:
                torch.empty(needed - CONTEXT, dtype=torch.uint8, device=device)  # freed, it stays with this process
                return
        time.sleep(SECONDS)
