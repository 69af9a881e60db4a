"""What a run costs: bytes, seconds, memory, gradient evaluations."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Costs:
    """Sums over a run; saved with its checkpoint, so that a resumed run goes on counting."""

    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0  # of training and exchange, evaluation apart
    evaluation_seconds: float = 0.0
    gradient_evaluations: int = 0  # backward passes, of every player
    peak_memory_bytes: int = 0


def reset_peak(device: torch.device) -> None:
    """Start counting peak memory anew: the device's on CUDA, else the process's resident set (where Linux allows it)."""
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
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
