"""The device of a run: which it is, its arithmetic, its speed, and how much of its memory was taken."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import resource
import shutil
import sys
import time
from pathlib import Path

import torch

from .options import Execution, Precision, TrainerOptions

# Deterministic; cuBLAS reads it once, when a process first uses it.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def resolve_device(name: str) -> torch.device:
    """The device of a run: "auto" is CUDA where there is a GPU. Raises ValueError for a device that this machine lacks."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = ["cpu", *(["cuda"] if found else []), *(f"cuda:{index}" for index in range(found))]
    if name not in ("auto", *there):
        raise ValueError(
            f"trainer.device is {name!r}, and this machine has {', '.join(there)}; train on one that has it, where the run has "
            "the same name, or set trainer.device=auto, which is another run"
        )
    return torch.device(name if name != "auto" else there[1] if found else "cpu")


def hardware(device: torch.device) -> str:
    """What a device is, in words: its kind, and which GPU or processor it is."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{device.type} ({where})"


def check_machine(options: TrainerOptions, device: torch.device) -> None:
    """Raise ValueError where this machine lacks what a run asks for: arithmetic in bf16, or a compiler."""
    if options.precision is Precision.bf16 and not has_bf16(device):
        raise ValueError(
            f"trainer.precision=bf16 was asked for, and this {device.type} has no arithmetic in bf16 (of CPUs, those with "
            "avx512_bf16 or AMX have), so it would be imitated, slowly; set trainer.precision=fp32, or take another machine"
        )
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as torch chooses
    if options.execution is Execution.compiled and shutil.which(compiler) is None:
        raise ValueError(
            f"trainer.execution=compiled was asked for, and there is no C++ compiler {compiler!r}; install it (on Debian: apt "
            "install g++), name another one in the variable CXX, or set trainer.execution=auto"
        )


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 by itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def set_precision(options: TrainerOptions) -> None:
    """Put the process into the arithmetic that the run asked for. Raises ValueError where the machine cannot do what it asks."""
    check_machine(options, resolve_device(options.device))
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(options.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # by torch, at run time
    full = options.precision is Precision.fp32
    torch.backends.cuda.matmul.allow_tf32 = not full
    torch.backends.cudnn.allow_tf32 = not full
    torch.backends.cudnn.benchmark = not options.deterministic


def matrix_rate(device: torch.device, precision: Precision) -> float:
    """FLOP/s of a large matrix product in a run's precision, measured once in a process for each number of threads."""
    return _known_rate(device, precision, torch.get_num_threads())


@functools.cache
def _known_rate(device: torch.device, precision: Precision, threads: int) -> float:
    return measure_matrix_rate(device, precision)


def measure_matrix_rate(device: torch.device, precision: Precision) -> float:
    """The best of a few products, each long enough to count, on as many threads as the process has."""
    size = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if precision is Precision.bf16 else torch.float32
    a, b = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    best, clock = 0.0, time.perf_counter
    if device.type != "cuda":  # its own time, whoever else is at work

        def clock() -> float:
            return time.process_time() / torch.get_num_threads()

    for _ in range(5):
        started = clock()
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2 * size**3 / (clock() - started))
    return best


def reset_peak(device: torch.device) -> None:
    """Start counting peak memory anew: the device's on CUDA, else the process's resident set (where Linux allows it)."""
    trim()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:  # no such file elsewhere: the peak then includes what the process did before
            return


def peak(device: torch.device) -> int:
    """Peak memory since `reset_peak`, bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)  # the memory of a CUDA graph does not count as allocated
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def trim() -> None:
    """Return freed memory to the system: glibc would keep it, and more of it with every state that comes and goes."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
