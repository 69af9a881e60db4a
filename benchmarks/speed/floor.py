"""The least time that a step can take: its operations at the device's rate of matrix products, or its bytes at the bandwidth.

    OMP_NUM_THREADS=1 python -m fedsynth.benchmarks.speed.floor

says how far the convolutions of the reference regime's generator come to that rate, each by itself, and what else takes time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fedsynth.benchmarks.config.compose import composed, load_choices
from fedsynth.benchmarks.config.schema import Run
from fedsynth.federation import Columns
from fedsynth.runtime.device import matrix_rate
from fedsynth.runtime.options import Precision

STATE = (
    8 * 4
)  # bytes a parameter and step: Adam reads weight, gradient and two moments and writes the first and the last two,
# and the gradient was written


@cache
def experiment(name: str) -> Run:
    """A run of an experiment (conf/experiment/)."""
    load_choices()
    return Run.of(composed(["method=pflsynth", f"experiment={name}"]))


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


def seconds(module: nn.Module, *inputs: Tensor) -> float:
    """CPU time of a forward and a backward pass: the least of a few."""
    taken = []
    for _ in range(8):
        started = time.process_time()
        module(*inputs).sum().backward()
        taken.append(time.process_time() - started)
    return min(taken)


def main() -> None:
    columns = Columns(sites=4, contrasts=4)
    run = experiment("reference")
    generator, batch, size = run.network.generator(columns), run.trainer.batch, vars(run.dataset)["size"]
    inputs = torch.randn(batch, 1, size, size), torch.zeros(batch, columns.length)
    whole, rate = seconds(generator, *inputs), matrix_rate(torch.device("cpu"), Precision.fp32)
    calls: list[tuple[nn.Module, Tensor, int]] = []
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda of, given, made: calls.append((of, given[0].detach(), made.shape[1])))
    generator(*inputs)
    alone: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for module, image, made in tuple(calls):
        flops = 3 * operations(partial(module, image))
        alone[f"{image.shape[-1]} pixels, {image.shape[1]} to {made} channels"].append(
            (flops, seconds(module, image.requires_grad_()))
        )
    alone["all convolutions"] = [each for found in alone.values() for each in found]
    for name, found in alone.items():
        flops, taken = (sum(part) for part in zip(*found, strict=True))
        print(f"{name:32}{taken / whole:5.0%} of the time, at {flops / taken / rate:4.0%} of the rate")
    print(f"forward and backward pass: {1e3 * whole:.1f} ms, matrix products {rate / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
