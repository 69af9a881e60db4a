"""Several runs share a GPU. Before a run starts, it enters the memory that it will need in a ledger, or waits for room."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fedsynth.exchange import leaves
from fedsynth.federation import Federation
from fedsynth.method import Blueprint

from ...config.schema import Run

CONTEXT = 1 << 30  # bytes that CUDA and its libraries take
STATE = 4 * 4  # bytes a parameter: the weight, its gradient, Adam's two moments
MARGIN = 1.5  # covers memory that is freed and not yet reused, and what a method remembers
SECONDS = 5.0  # between two looks at the ledger


class Produced(TorchDispatchMode):
    """Counts the bytes of all results that torch computes inside."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # torch's signature
        result = func(*args, **(kwargs or {}))
        self.total += sum(leaf.nbytes for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def estimate(run: Run, federation: Federation) -> int:
    """The bytes of device memory that a run needs: the resident states, the slices, and what one step of every resident site
    produces. The step is counted on tensors without data."""
    blueprint = Blueprint(run.network, federation.columns, federation.all_tasks(), run.seed)
    nets = run.method.build(blueprint)
    parameters = sum(p.numel() for _, net in leaves(nets) for p in net.parameters())
    sites = min(run.trainer.resident, len(federation.names))
    images = torch.empty(run.trainer.batch, federation.columns.channels, *federation.size, device="meta")
    code = torch.empty(run.trainer.batch, federation.columns.length, device="meta")
    judge = run.network.discriminator(federation.columns.channels).to("meta")
    generator = run.network.generator(federation.columns).to("meta")
    with Produced() as produced:
        judge(images, generator(images, code))
    slices = sum(len(federation.sites[name].images) for name in federation.names)
    data = slices * len(federation.contrasts) * federation.size[0] * federation.size[1] * 2
    return int(CONTEXT + MARGIN * (sites * (STATE * parameters + 2 * produced.total) + data))


def wait_for_memory(run: Run, federation: Federation, device: torch.device, ledger: Path) -> None:
    """Return once the device has room for this run beside those in the ledger, which has a line for each living process; then the
    ledger has this one too. On a CPU there is nothing to do.

    Raises ValueError for a run that would not fit even if it were alone on the device.
    """
    if device.type != "cuda":
        return
    needed, whole = estimate(run, federation), torch.cuda.mem_get_info(device)[1]
    if needed > whole:
        raise ValueError(
            f"the run needs about {needed / 2**30:.1f} GiB and the device has {whole / 2**30:.1f}; use a smaller"
            " trainer.resident or trainer.batch, or a narrower network"
        )
    while not entered(ledger, needed, whole, torch.cuda.mem_get_info(device)[0]):
        time.sleep(SECONDS)


def entered(ledger: Path, needed: int, whole: int, free: int) -> bool:
    """Whether there is room. If so, this process is in the ledger from now on."""
    with ledger.open("a+") as file:
        with suppress(OSError):  # two that look at once would both find room; a file system without locks lets them
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        lines = [line.split() for line in file]
        others = {pid: int(taken) for pid, taken in lines if Path("/proc", pid).exists() and int(pid) != os.getpid()}
        fits = sum(others.values()) + needed <= whole and needed <= free
        mine = {str(os.getpid()): needed} if fits else {}
        file.truncate(0)
        file.writelines(f"{pid} {taken}\n" for pid, taken in (others | mine).items())
    return fits
