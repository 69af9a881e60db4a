"""`make precision`: what it trains, and what it prints of the scores."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.finished import finish

from fedsynth.benchmarks.config.compose import composed
from fedsynth.benchmarks.config.grid import Cell
from fedsynth.benchmarks.config.schema import register
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.speed.same_scores import main

MAKEFILE = Path(__file__).parents[3] / "Makefile"
WAYS = ("eager", "compiled")


@pytest.fixture(scope="module")
def identities() -> list[dict[str, Any]]:
    """Of the runs of the Makefile's command: one is composed each way, and the others are it with another method or seed."""
    assert register() == {}
    command = re.search(r"^PRECISION := \$\(BIN\)/fedsynth run -m (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert command
    words = dict(word.split("=", 1) for word in command[1].split())
    methods, seeds = (words.pop(option).split(",") for option in ("method", "seed"))
    assert f"$(PRECISION) trainer.execution={','.join(WAYS)} " in MAKEFILE.read_text()
    ways = [Cell.of(composed([*(f"{a}={b}" for a, b in words.items()), f"trainer.execution={way}"])) for way in WAYS]
    assert {way.run.trainer.execution.value for way in ways} == set(WAYS)
    return [
        way.identity | {"method": {"name": method}, "seed": int(seed)}
        for way in ways
        for method in methods
        for seed in seeds
    ]


def trained(store: Store, identities: list[dict[str, Any]], gain: float) -> None:
    """As if the compiled runs had scored `gain` dB more, and the fifth seed another 0.05 dB."""
    for what in identities:
        compiled = what["trainer"]["execution"] == "compiled"
        finish(store, what, 20 + what["seed"] + compiled * (gain + 0.05 * (what["seed"] == 5)))


def test_runs_that_score_alike_are_within(
    tmp_path: Path, identities: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    trained(Store(tmp_path), identities, gain=0.02)
    assert main(tmp_path) == 0
    *by_method, whole = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split()[0] for line in by_method] == ["fedavg", "local", "pflsynth"]
    # By hand: 12 differences of 0.02 and 3 of 0.07 have the mean 0.03 and the error sqrt(0.006 / 14 / 15); t is 1.761.
    assert whole.split() == [
        "compiled",
        "fp32:",
        "all",
        "15",
        "+0.030",
        "dB",
        "[+0.021,",
        "+0.039],",
        "within",
        "+-0.1",
        "dB",
    ]


def test_runs_that_differ_are_not(
    tmp_path: Path, identities: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    trained(Store(tmp_path), identities, gain=0.1)
    assert main(tmp_path) == 1
    assert capsys.readouterr().out.endswith("NOT within +-0.1 dB\n")


def test_nothing_to_compare_is_said(
    tmp_path: Path, identities: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    trained(Store(tmp_path), [what for what in identities if what["trainer"]["execution"] == "eager"], gain=0.0)
    assert main(tmp_path) == 1
    assert "no two finished runs" in capsys.readouterr().out
