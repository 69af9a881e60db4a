"""Imports run one way: between the rooms, between the folders of benchmarks/ and of the engine, and nowhere in a circle."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.source import ROOMS, ROOT, circle, folder_imports, imported, imports, python_files

HARNESS = ("hydra", "omegaconf", "pandas", "matplotlib", "seaborn", "jinja2")  # what only benchmarks/ may know

# Above what may know it: a folder, or a file at the top, imports from its own line and from the lines below.
ORDER = {
    "benchmarks": (
        *(
            "cli speed",
            "report share inference running data contract",
            "leaderboard",
            "tables",
            "stats",
            "config",
        ),
        "records",
    ),
    "fedsynth": (
        *("__init__", "trainer", "evaluation", "registry", "method", "server", "site", "step", "exchange"),
        *("networks feed", "federation", "runtime losses streams plugins"),
    ),
}
HEIGHT = {
    (room, name): height
    for room, lines in ORDER.items()
    for height, line in enumerate(reversed(lines))
    for name in line.split()
}


def height(path: Path) -> int:
    """Of a file below benchmarks/ or fedsynth/, by its folder, or by its own name at the top."""
    return HEIGHT[path.parts[0], Path(path.parts[1]).stem]


def room_of(module: str) -> str:
    """The room of an absolute module name; "" for what is not of this project."""
    first, second, *_ = [*module.split("."), ""]
    return (second if second in ROOMS else first) if first == "fedsynth" else ""


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
        and not f"{name}.".startswith(("fedsynth.federation.", "fedsynth.runtime.", "fedsynth.datasets."))
    ):
        return "datasets know fedsynth.federation, fedsynth.runtime and nothing else of the engine"
    return ""


def violations(root: Path) -> list[str]:
    found = set()
    for folder in (*ROOMS, "tests"):
        for file in python_files(root, folder):
            for name in imported(file, root):
                if reason := forbidden(folder, name):
                    found.add(f"{file.relative_to(root)} imports {name}: {reason}")
    return sorted(found)


def test_arrows_point_one_way() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "allowed"),
    [
        ("fedsynth/trainer/trainer.py", "from ..exchange import Plan", True),
        ("fedsynth/trainer/trainer.py", "from fedsynth.methods.fedbn import FedBN", False),
        ("fedsynth/trainer/trainer.py", "from ..methods import fedbn", False),
        ("fedsynth/trainer/trainer.py", "from .. import methods", False),
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
        ("datasets/nifti.py", "from fedsynth.runtime.progress import ProgressBar", True),
        ("datasets/nifti.py", "from fedsynth import streams", False),
        ("datasets/nifti.py", "from ..method import Method", False),
        ("datasets/phantom/atlas.py", "from .tissues import TABLE", True),
        ("datasets/phantom/atlas.py", "from ..volumes import read", True),
        ("datasets/phantom/atlas.py", "from ...methods import fedbn", False),
        ("datasets/phantom/__init__.py", "from .dataset import Phantom", True),
        ("datasets/phantom/__init__.py", "from ...trainer import Trainer", False),
        ("benchmarks/cli/__init__.py", "import hydra", True),
        ("benchmarks/cli/__init__.py", "from fedsynth.registry import METHODS", True),
        ("benchmarks/cli/__init__.py", "from fedsynth.methods import fedbn", False),
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


def upwards(root: Path) -> list[str]:
    """The imports within benchmarks/ and within the engine that go to a folder above their own."""
    return [
        f"{path} imports {target}, which lies above it"
        for path, targets in imports(root).items()
        for target in sorted(targets)
        if path.parts[0] == target.parts[0] and path.parts[0] in ORDER and height(target) > height(path)
    ]


def test_the_folders_of_the_harness_and_of_the_engine_import_downwards() -> None:
    assert upwards(ROOT) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle(imports(ROOT)) == ""


def test_no_folders_import_each_other_in_a_circle() -> None:
    """A file at the top of a room counts as a folder of its own."""
    assert circle(folder_imports(imports(ROOT))) == ""


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, line in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{line}\n")
    return root


def test_an_import_that_goes_up_is_named(tmp_path: Path) -> None:
    files = {"benchmarks/stats/ranks.py": "from ..tables.metric import Metric", "benchmarks/tables/metric.py": ""}
    (found,) = upwards(tree(tmp_path, files))
    assert found == "benchmarks/stats/ranks.py imports benchmarks/tables/metric.py, which lies above it"


@pytest.mark.parametrize(
    ("files", "file_circle", "folder_circle"),
    [
        (
            {"fedsynth/step.py": "from .site import SiteState", "fedsynth/site/__init__.py": "from ..step import Step"},
            {"fedsynth/step.py", "fedsynth/site/__init__.py"},
            {"fedsynth/step.py", "fedsynth/site"},
        ),
        (
            {
                "fedsynth/method.py": "if TYPE_CHECKING:\n    from .server.server import Server",
                "fedsynth/server/server.py": "def f():\n    from fedsynth.method import Method",
            },
            {"fedsynth/method.py", "fedsynth/server/server.py"},
            {"fedsynth/method.py", "fedsynth/server"},
        ),
        (
            {
                "benchmarks/records/a.py": "from ..stats import b",
                "benchmarks/stats/b.py": "",
                "benchmarks/stats/c.py": "from ..records.d import name",
                "benchmarks/records/d.py": "",
            },
            set(),
            {"benchmarks/records", "benchmarks/stats"},
        ),
        ({"methods/a.py": "from . import b", "methods/b.py": "from fedsynth import streams"}, set(), set()),
    ],
)
def test_a_circle_is_named(
    tmp_path: Path, files: dict[str, str], file_circle: set[str], folder_circle: set[str]
) -> None:
    graph = imports(tree(tmp_path, files))
    for found, expected in ((circle(graph), file_circle), (circle(folder_imports(graph)), folder_circle)):
        stations = found.split(" -> ")
        assert set(stations) - {""} == expected
        assert stations[0] == stations[-1]
