"""docs/adding-an-optimizer.md does what it says: its file is an optimiser and a schedule, its package is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.docs import DocPage, run

from fedsynth.benchmarks.records.store import State, Store
from fedsynth.registry import OPTIMIZERS, SCHEDULES

PAGE = DocPage("adding-an-optimizer")


@pytest.mark.slow
def test_the_file_and_the_commands(tmp_path: Path) -> None:
    (tmp_path / "recipe.py").write_text(PAGE.block("python"))
    printed = run(tmp_path, PAGE.commands())
    assert len(re.findall(r"^  recipe +What the released code of FedMRI .*recipe\.py\]$", printed, re.MULTILINE)) == 2
    assert "  optimizer.alpha=0.99  (float)\n      the rate of decay of the mean square of the gradients\n" in printed
    assert "  schedule.every=40  (int)\n      rounds\n" in printed
    (name,) = Store(tmp_path / "results").names()
    what = Store(tmp_path / "results").identity(name)
    assert (what["optimizer"], what["schedule"]) == ({"name": "recipe", "alpha": 0.99}, {"name": "recipe", "every": 2})
    assert Store(tmp_path / "results").status(name).state in (State.done, State.diverged)  # two rounds are few


def test_the_package(tmp_path: Path) -> None:
    assert PAGE.install(tmp_path, "fedsynth.optimizers") == "rmsprop = my_package.recipe:RMSprop"
    printed = run(tmp_path, "fedsynth list optimizers")
    assert re.search(r"^  rmsprop .*\[my_package 1\.0 \(my_package\.recipe:RMSprop\)\]$", printed, re.MULTILINE)


def test_every_built_in_choice_is_on_the_page() -> None:
    listed = {cells[0].strip("`") for cells in PAGE.table("choice")}
    registered = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    assert listed == {f"{group}={name}" for group, registry in registered.items() for name in registry.entries()}
