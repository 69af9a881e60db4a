"""The least time that a step can take: its operations at the device's rate of matrix products, or its bytes at the bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from fedsynth.runtime.device import matrix_rate
from fedsynth.runtime.options import Precision

STATE = (
    8 * 4
)  # bytes a parameter and step: Adam reads weight, gradient and two moments and writes the first and the last two,
# and the gradient was written


def operations(way: Callable[[], object]) -> int:
    """Floating-point operations of one call, counted."""
    with FlopCounterMode(display=False) as counter:
        way()
    return int(counter.get_total_flops())


def bandwidth(device: torch.device) -> float:
    """Bytes/s of a large copy, read and written: the best of a few."""
    source = torch.ones(1 << (28 if device.type == "cuda" else 24), device=device)
    target, best = torch.empty_like(source), 0.0
    for _ in range(5):
        started = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 8 * source.numel() / (time.perf_counter() - started))
    return best


def floor(flops: int, parameters: int, device: torch.device, precision: Precision = Precision.fp32) -> dict[str, float]:
    """Seconds that the operations, and the bytes of so many moving parameters, take at least."""
    rate, width = matrix_rate(device, precision), bandwidth(device)
    return {
        "GFLOP": flops / 1e9,
        "matrix GFLOP/s": rate / 1e9,
        "bandwidth GB/s": width / 1e9,
        "floor seconds": max(flops / rate, parameters * STATE / width),
    }
