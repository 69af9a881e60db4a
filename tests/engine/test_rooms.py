"""Two checkouts never mix in one process, whichever of them an editable install knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.checkout import ROOT

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
