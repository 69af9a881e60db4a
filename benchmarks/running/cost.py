"""`fedsynth cost`: what a method costs, measured alone: seconds and where they go, operations, memory, bytes.

    fedsynth cost fedavg pflsynth experiment=demo
    fedsynth cost pflsynth experiment=demo --profile trace     # and a trace of one round

GFLOP/s are the operations of a round over its seconds, and "of rate" is their share of the device's rate of matrix products.
The first round of each method is not counted: it chooses kernels and captures steps. The figures of a table are of one machine at
one time. A sweep cannot give them, as its runs share the machine. The discriminators' part holds the generator's forward pass,
whose images they judge. On a GPU the parts are from a second, eager training that waits after each part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from click import UsageError
from torch.profiler import ProfilerActivity, profile

from fedsynth.federation import Federation
from fedsynth.registry import METHODS
from fedsynth.runtime.device import matrix_rate, peak, reset_peak, set_precision
from fedsynth.runtime.options import Execution
from fedsynth.trainer import Trainer
from fedsynth.trainer.outcome import Costs
from fedsynth.trainer.sharing import parameter_counts

from ..config.compose import composed, load_choices
from ..config.explain import explained
from ..config.overrides import apart, results_override
from ..config.schema import Run, register
from .training.execute import tell

NOT_SUMMED = ("peak_memory_bytes", "matrix_rate", "floor_share")  # what does not grow with the rounds
PARTS = ("data", "discriminators", "generator", "exchange", "aggregation", "idle")
COLUMN_WIDTHS = {
    "s a round": 10,
    **dict.fromkeys(PARTS, 15),
    "scoring": 9,
    "GFLOP": 10,
    "GFLOP/s": 9,
    "of rate": 9,
    "MiB": 7,
}
COLUMN_WIDTHS |= {"MB up": 8, "MB down": 8, "parameters": 12}
HEAD = f"{'method':16}" + "".join(f"{name:>{width}}" for name, width in COLUMN_WIDTHS.items()) + "  execution"


def main(words: Sequence[str], rounds: int, profile: Path | None, results: Path | None) -> int:
    """Measure the named methods, one after another. Raises OptionError for one that cannot be measured."""
    load_choices()
    names, overrides = apart([*words, *results_override(results)])
    names = list(METHODS.entries()) if names == ["all"] else names
    if not names:
        raise UsageError("measure what? name a method, or all")
    if (load := os.getloadavg()[0]) > 0.5:
        tell(f"fedsynth: other processes are at work here (load {load:.1f}), which will show in the figures")
    print(HEAD)
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:  # so that its memory is its own
            print(alone.submit(measured, name, overrides, rounds, profile).result(), flush=True)
    return 0


def measured(name: str, overrides: Sequence[str], rounds: int, folder: Path | None) -> str:
    """A method's row of the table. Raises OptionError where it cannot be measured."""
    register()
    with explained(f"{name}: "):
        run = Run.of(composed([f"method={name}", *overrides]))
        return line(name, *costs_of(run, rounds, folder and folder / name))


def costs_of(run: Run, rounds: int, folder: Path | None) -> tuple[dict[str, float], str]:
    """Costs a round, by name, and how the steps ran."""
    federation = run.scenario.federation(run.dataset, Path(run.results) / "cache")
    trainer = warm(run, federation, rounds)
    reset_peak(trainer.device)
    costs, memory = train(trainer, rounds), peak(trainer.device)
    found = costs.summary(matrix_rate(trainer.device, run.trainer.precision))
    if trainer.device.type == "cuda":
        parts = warm(replace(run, trainer=replace(run.trainer, execution=Execution.eager)), federation, rounds)
        parts.step.waits = True
        eager = train(parts, rounds).summary(1.0)
        found |= {name: value for name, value in eager.items() if name.startswith("seconds_")}
    found["peak_memory_bytes"] = memory
    if folder:
        trace(trainer, rounds + 2, folder)
    shares = {name: value / rounds for name, value in found.items() if name not in NOT_SUMMED}
    return found | shares | parameter_counts(trainer.sites.values(), trainer.plan), trainer.step.ran


def warm(run: Run, federation: Federation, rounds: int) -> Trainer:
    """A trainer after its first round, with no checkpoint to come."""
    options = replace(run.trainer, rounds=rounds + 2, validate_every=rounds + 2, checkpoint_every=rounds + 2)
    set_precision(options)
    trainer = Trainer(run.method, run.network, federation, options, run.seed)
    trainer.round(1)
    return trainer


def train(trainer: Trainer, rounds: int) -> Costs:
    """What the next rounds cost, and one validation."""
    trainer.state.costs = Costs()
    for round in range(2, rounds + 2):
        trainer.round(round)
    trainer.validate(1, {})
    trainer.state.costs.evaluation_seconds *= rounds  # for it is shown a round, and there was one
    return trainer.state.costs


def trace(trainer: Trainer, round: int, folder: Path) -> None:
    """Write `trace.json`, for chrome://tracing or Perfetto, and `summary.txt`, operations by their own time."""
    gpu = [ProfilerActivity.CUDA] if trainer.device.type == "cuda" else []
    folder.mkdir(parents=True, exist_ok=True)
    with profile(activities=[ProfilerActivity.CPU, *gpu]) as found:
        trainer.round(round)
    found.export_chrome_trace(str(folder / "trace.json"))
    order = "self_cuda_time_total" if gpu else "self_cpu_time_total"
    (folder / "summary.txt").write_text(found.key_averages().table(sort_by=order, row_limit=40))
    tell(f"fedsynth: wrote {folder / 'summary.txt'} and {folder / 'trace.json'}")


def line(name: str, found: dict[str, Any], execution: str) -> str:
    """A row of the table."""
    parts: Sequence[float] = [found[f"seconds_{part}"] for part in PARTS]
    return (
        f"{name:16}{found['seconds']:10.3f}"
        + "".join(f"{part:15.3f}" for part in parts)
        + f"{found['evaluation_seconds']:9.3f}{found['flops'] / 1e9:10.1f}"
        + f"{found['floor_share'] * found['matrix_rate'] / 1e9:9.1f}{found['floor_share']:9.1%}"
        + f"{found['peak_memory_bytes'] / 2**20:7.0f}{found['bytes_up'] / 1e6:8.2f}{found['bytes_down'] / 1e6:8.2f}"
        + f"{found['parameters']:12,.0f}  {execution}"
    )
