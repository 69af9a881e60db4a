"""What is installed: methods of packages and plugin files in real processes; two checkouts that never mix in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.source import ROOT

# Methods from elsewhere


PACKAGED = '''
"""Installed: FedAvg under another name."""
from dataclasses import dataclass
from fedsynth.method import Method


@dataclass
class Packaged(Method):
    pass
'''
PLUGIN = '''
"""A file: FedAvg with a pull towards the received model."""
from dataclasses import dataclass
from enum import Enum
from fedsynth.method import Method


class Pull(Enum):
    all = "all"


@dataclass
class Proximal(Method):
    mu: float = 0.01
    pull: Pull = Pull.all

    def step(self, site, batch):
        for player, loss in super().step(site, batch):
            yield player, loss + self.mu * site.distance(player, site.received)
'''
TINY = (
    *("experiment=smoke", "trainer.rounds=1", "trainer.local_steps=1", "scenario=common"),
    "scenario.sites=[ixi,oasis]",
)
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a package of one entry point, a plugin file, and a broken one."""
    info = tmp_path / "site" / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "elsewhere.py").write_text(PACKAGED)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedsynth.methods]\nthird_packaged = elsewhere:Packaged\n")
    (tmp_path / "third_file.py").write_text(PLUGIN)
    (tmp_path / "third_broken.py").write_text("import a_library_that_is_not_here\n")
    return tmp_path


def fedsynth(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in its folder, with relative paths to the plugin files."""
    plugins = os.pathsep.join(["third_file.py", "third_broken.py"])
    path = os.pathsep.join([str(place / "site"), str(ROOT)])
    environment = os.environ | {"FEDSYNTH_PLUGINS": plugins, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fedsynth.benchmarks.cli", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_they_are_listed_swept_by_parallel_workers_and_ranked_with_the_others(place: Path) -> None:
    listed = fedsynth(place, "list", "methods")
    assert "  third_packaged" in listed.stdout
    assert "  third_file" in listed.stdout
    assert "third_broken.py: defines no " in listed.stderr

    first = fedsynth(place, "run", "-m", "method=glob([third_*,fedavg])", *TINY, *PARALLEL)
    assert first.returncode == 0, first.stderr
    assert "third_broken.py failed to load: ModuleNotFoundError" in first.stderr
    runs = {path.name.partition("-")[0]: path.name for path in (place / "results" / "runs").iterdir()}
    assert sorted(runs) == ["fedavg", "third_file", "third_packaged"]

    board = fedsynth(place, "leaderboard")
    assert board.returncode == 0, board.stderr
    assert all(name in board.stdout for name in runs)

    plugin = place / "third_file.py"
    plugin.write_text(plugin.read_text().replace("+ self.mu * site", "+ 2 * self.mu * site"))
    again = fedsynth(place, "run", "-m", "method=glob([third_*,fedavg])", *TINY)
    assert again.returncode == 0, again.stderr
    trained = [line for line in again.stderr.splitlines() if line.startswith("third_file-")]
    assert "before, nothing to train" not in trained[0]
    for name in ("fedavg", "third_packaged"):
        assert f"{runs[name]}: " in again.stderr
        (line,) = [line for line in again.stderr.splitlines() if line.startswith(runs[name])]
        assert "before, nothing to train" in line
    assert len(list((place / "results" / "runs").iterdir())) == 4


@pytest.mark.slow
def test_their_options_are_checked(place: Path) -> None:
    refused = fedsynth(place, "run", "method=third_file", "method.pull=some", *TINY)
    assert refused.returncode == 2
    assert "expected one of [all]" in refused.stderr
    refused = fedsynth(place, "run", "method=third_fill", *TINY)
    assert "no method 'third_fill'; the nearest: third_file" in refused.stderr
    assert not (place / "results" / "runs").exists()


# Two checkouts, whichever of them an editable install knows


# A finder like that of an editable install: it maps every name below fedsynth to a file of another checkout.
PROGRAM = """
import importlib, sys
from importlib.machinery import PathFinder
from pathlib import Path

other = Path(sys.argv[1])

class Editable:
    @staticmethod
    def find_spec(name, path=None, target=None):
        first, *rest = name.split(".")
        if first != "fedsynth" or not rest:
            return None
        root = other if rest[0] in ("methods", "datasets", "benchmarks", "conf") else other / "fedsynth"
        return PathFinder.find_spec(name, [str(root.joinpath(*rest[:-1]))])

sys.meta_path.append(Editable)
import fedsynth
try:
    print(importlib.import_module(sys.argv[2]).__file__)
except ModuleNotFoundError as error:
    print(error)
"""


def checkout(folder: Path, *modules: str) -> Path:
    files = {"fedsynth/__init__.py": (ROOT / "fedsynth/__init__.py").read_text()}
    files["pyproject.toml"] = (ROOT / "pyproject.toml").read_text()
    for name, text in (files | dict.fromkeys(modules, "")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "module", ["methods/fedbn.py", "benchmarks/tables/table.py", "benchmarks/tables/__init__.py", "fedsynth/step.py"]
)
def test_what_only_another_checkout_has_is_not_found(module: str, tmp_path: Path) -> None:
    """As after a file was renamed in one of them."""
    name = "fedsynth." + module.removeprefix("fedsynth/").removesuffix(".py").removesuffix("/__init__").replace(
        "/", "."
    )
    other = checkout(tmp_path / "other", module)
    both = "methods/fedavg.py", "benchmarks/leaderboard/leaderboard.py"

    def imported(here: Path) -> str:
        command = [sys.executable, "-c", PROGRAM, str(other), name]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    assert imported(checkout(tmp_path / "has", *both, module)) == str(tmp_path / "has" / module)
    lacks = imported(checkout(tmp_path / "lacks", *both))
    assert lacks.startswith("No module named 'fedsynth.")
    assert lacks.endswith(f"in the checkout {tmp_path / 'lacks'}")
