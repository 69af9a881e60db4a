"""What a command pays before it does anything: a new interpreter, the package, every data set, every method (and torch)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "first", ["pass", "import fedsynth", "fedsynth.DATASETS.entries()", "fedsynth.METHODS.entries()"]
)
def test_startup(benchmark: BenchmarkFixture, first: str) -> None:
    command = [sys.executable, "-c", f"import fedsynth; {first}" if "." in first else first]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "cwd": ROOT}, rounds=5, warmup_rounds=1)
