"""What the saved figures say of where they come from, and the ratios at the end."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

import pytest
import torch
from pytest_benchmark.session import BenchmarkSession

from fedsynth.runtime.device import set_precision
from fedsynth.runtime.options import TrainerOptions


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    set_precision(TrainerOptions())


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    for private in ("node", "release"):
        machine_info.pop(private, None)
    machine_info["cores"] = os.cpu_count()
    machine_info["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    machine_info["versions"] = {name: version(name) for name in ("torch", "numpy", "pytest-benchmark")}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session: BenchmarkSession = config._benchmarksession  # type: ignore[attr-defined]  # pytest-benchmark's
    rows = [(one.fullname.rpartition("::")[2], one.extra_info) for one in session.benchmarks if one.extra_info]
    if rows:
        terminalreporter.section("ours over its rivals, median of paired ratios [95 % interval]")
    for name, info in rows:
        for rival, (middle, low, high) in info.get("ours over", {}).items():
            terminalreporter.write_line(f"{name:44} {rival:28} {middle:7.3f} [{low:.3f}, {high:.3f}]")
        for fact, value in info.items():
            if fact not in ("ours over", "median seconds"):
                terminalreporter.write_line(f"{name:44} {fact:28} {value}")
