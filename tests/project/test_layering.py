"""Who may import whom, read from the source: benchmarks -> fedsynth, methods -> fedsynth, datasets -> fedsynth.federation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from support.checkout import ROOT

ROOMS = ("fedsynth", "methods", "datasets", "benchmarks", "conf")
FOLDERS = (*ROOMS, "tests", "docs")
HARNESS = ("hydra", "omegaconf", "pandas", "matplotlib", "seaborn", "jinja2")  # what only benchmarks/ may know


def room_of(module: str) -> str:
    """The room of an absolute module name; "" for what is not of this project."""
    first, second, *_ = [*module.split("."), ""]
    return (second if second in ROOMS else first) if first == "fedsynth" else ""


def imported(file: Path, root: Path) -> Iterator[str]:
    """The absolute names that a file imports anywhere in it, relative imports resolved, `from a import b` as a and a.b."""
    place = file.relative_to(root).with_suffix("").parts
    place = place if place[0] == "fedsynth" else ("fedsynth", *place)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # level 1 is the folder of a module, and for __init__.py too, since its last part is dropped in the same way
            base = ".".join([*(place[: -node.level] if node.level else ()), *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def forbidden(room: str, name: str) -> str:
    """Why a file of this room may not import this name; "" if it may."""
    first, target = name.split(".")[0], room_of(name)
    if first in ROOMS[1:]:
        return "a room is imported as fedsynth.<room>; by its bare name it would be a second copy"
    if room in ("fedsynth", "methods", "datasets") and first in HARNESS:
        return "only benchmarks/ knows Hydra, tables and figures"
    if target and target not in (room, "fedsynth") and room in ROOMS:
        return f"{room} may not know {target}"
    if (
        room == "datasets"
        and target == "fedsynth"
        and not f"{name}.".startswith(("fedsynth.federation.", "fedsynth.datasets."))
    ):
        return "datasets know fedsynth.federation and nothing else of the engine"
    return ""


def violations(root: Path) -> list[str]:
    found = set()
    for folder in (*ROOMS, "tests"):
        for file in sorted((root / folder).rglob("*.py")):
            for name in imported(file, root):
                if reason := forbidden(folder, name):
                    found.add(f"{file.relative_to(root)} imports {name}: {reason}")
    return sorted(found)


def test_arrows_point_one_way() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("fedsynth/trainer/trainer.py", "from .exchange import Plan", True),
        ("fedsynth/trainer/trainer.py", "from fedsynth.methods.fedbn import FedBN", False),
        ("fedsynth/trainer/trainer.py", "from .methods import fedbn", False),
        ("fedsynth/trainer/trainer.py", "from . import methods", False),
        ("fedsynth/networks/unet.py", "from ..datasets import phantom", False),
        ("fedsynth/networks/unet.py", "from ..exchange import Plan", True),
        ("fedsynth/trainer/trainer.py", "    import hydra", False),
        ("fedsynth/registry.py", "import benchmarks.cli", False),
        ("methods/fedbn.py", "from .fedavg import FedAvg", True),
        ("methods/fedbn.py", "from fedsynth.method import Method", True),
        ("methods/fedbn.py", "import fedsynth.benchmarks.records.record", False),
        ("methods/fedbn.py", "from ..datasets import phantom", False),
        ("methods/fedbn.py", "from methods.fedavg import FedAvg", False),
        ("datasets/nifti.py", "from fedsynth.federation import Site", True),
        ("datasets/nifti.py", "from fedsynth import streams", False),
        ("datasets/nifti.py", "from ..method import Method", False),
        ("datasets/phantom/atlas.py", "from .tissues import TABLE", True),
        ("datasets/phantom/atlas.py", "from ..volumes import read", True),
        ("datasets/phantom/atlas.py", "from ...methods import fedbn", False),
        ("datasets/phantom/__init__.py", "from .dataset import Phantom", True),
        ("datasets/phantom/__init__.py", "from ...trainer import Trainer", False),
        ("benchmarks/cli.py", "import hydra", True),
        ("benchmarks/cli.py", "from fedsynth.registry import METHODS", True),
        ("benchmarks/cli.py", "from fedsynth.methods import fedbn", False),
        ("benchmarks/speed/test_step.py", "from ...datasets import phantom", False),
        ("tests/datasets/test_phantom.py", "from fedsynth.datasets.phantom import Phantom", True),
        ("tests/datasets/test_phantom.py", "from datasets.phantom import Phantom", False),
    ],
)
def test_the_reader_of_arrows_sees(tmp_path: Path, file: str, line: str, allowed: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f"if True:\n    {line.strip()}\n")
    assert (violations(tmp_path) == []) is allowed


def sources(*suffixes: str) -> list[Path]:
    kept = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return sorted([*kept, *(path for path in ROOT.iterdir() if path.suffix in suffixes or path.name == "Makefile")])


def test_no_file_holds_two_concepts() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources(".py")}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
    assert [name for name in lengths if re.search(r"(^|/|_)(utils?|helpers?|common|misc)\.py$", name)] == []


def test_generic_names_are_namespace_folders() -> None:
    # a regular package `datasets` at the top of a checkout would shadow another project's of that name
    assert [room for room in ("methods", "datasets", "benchmarks") if (ROOT / room / "__init__.py").exists()] == []
    assert (ROOT / "conf/__init__.py").exists()  # Hydra's pkg:// needs a regular package


def test_no_path_of_one_machine() -> None:
    machine = re.compile(r"(?<![\w.])/(home|root|Users|work|mnt|opt|srv)/\w|\b[A-Z]:\\\w")
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources(".py", ".toml", ".yaml", ".yml", ".md", ".txt", ".cfg")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if machine.search(line)
    ]
    assert lines == []


def statements(path: Path) -> int:
    """Statements of a file, without docstrings and imports."""
    tree = ast.parse(path.read_text())
    return sum(
        isinstance(node, ast.stmt)
        and not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(tree)
    )


@pytest.mark.parametrize(
    ("method", "most"), [("fedavg", 15), ("fedbn", 15), ("local", 15), ("pooled", 15), ("pflsynth", 60), ("fedmri", 60)]
)
def test_a_method_is_its_difference_from_fedavg(method: str, most: int) -> None:
    assert 0 < statements(ROOT / "methods" / f"{method}.py") <= most


def test_methods_stay_short() -> None:
    counts = {path.stem: statements(path) for path in (ROOT / "methods").glob("*.py")}
    assert median(counts.values()) <= 40
    assert {name: count for name, count in counts.items() if count > 150} == {}
