"""The import names are the same in a wheel, an sdist, an editable install and a bare checkout, in workers too.

Everything is built from a copy of the checkout and installed into fresh environments that borrow the libraries of this one, so
that nothing is downloaded. A package named `datasets` of another project and a stray pyproject.toml lie in every one of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.environments import SOURCE, Environment, copy_checkout, run_clean
from support.source import ROOMS, ROOT

BESIDE = [room for room in ROOMS if room != "fedsynth"]

PROBE = """
import importlib, json, pkgutil, sys
import fedsynth
light = not any(name in sys.modules for name in ("torch", "numpy", "hydra"))
from pathlib import Path

def importable(name):
    try:
        return bool(importlib.import_module(name))
    except ImportError:
        return False

rooms = {room: importlib.import_module(f"fedsynth.{room}") for room in ("methods", "datasets", "benchmarks", "conf")}
import datasets
from fedsynth.registry import DATASETS
known, broken = sorted(DATASETS.entries()), DATASETS.broken()
from fedsynth.datasets.phantom import Phantom
loaded = [str(Path(m.__file__).resolve()) for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
ours = [file for file in loaded if file.startswith(str(Path(fedsynth.__file__).resolve().parents[1]))]
print(json.dumps({
    "engine": str(Path(fedsynth.__file__).resolve().parent),
    "light": light,
    "rooms": {room: [str(Path(p).resolve()) for p in module.__path__] for room, module in rooms.items()},
    "files": sorted(
        f"{room}/{file.relative_to(path)}"
        for room, module in rooms.items() for path in module.__path__ for file in Path(path).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ),
    "strangers": [n for n in ("tests", "fedsynth", "results", "docs", "stray") if importable(f"fedsynth.{n}")]
        + [n for n in ("fedsynth.methods.stray",) if importable(n)],
    "theirs": getattr(datasets, "MARK", None),
    "data sets": known,
    "broken": broken,
    "one class": DATASETS["phantom"] is Phantom,
    "twice": sorted({file for file in ours if ours.count(file) > 1}),
}))
"""


def probe(environment: Environment, cwd: Path) -> dict[str, Any]:
    """What an environment's Python finds of us, when it is started in this folder."""
    found: dict[str, Any] = json.loads(environment.python(PROBE, cwd=cwd))
    return found


def expect(found: dict[str, Any], engine: Path, rooms: Path) -> None:
    """Check what is true in every layout: the engine lies in one folder, its rooms in another or in the same."""
    assert found == {
        "engine": str(engine.resolve()),
        "light": True,
        "rooms": {room: [str((rooms / room).resolve())] for room in BESIDE},
        "files": sorted(name for name in SOURCE if name.split("/")[0] in BESIDE),
        "strangers": [],
        "theirs": "theirs",
        "data sets": ["layout", "phantom", "prepared", "side_by_side"],
        "broken": {},
        "one class": True,
        "twice": [],
    }


def test_a_wheel_holds_every_file_of_the_rooms(wheel: Path) -> None:
    names = run_clean(sys.executable, "-m", "zipfile", "-l", wheel).splitlines()[1:]
    held = {line.split()[0] for line in names}
    wanted = {name if name.startswith("fedsynth/") else f"fedsynth/{name}" for name in SOURCE}
    assert {name for name in held if ".dist-info/" not in name} == wanted
    assert {name.split("/")[0] for name in held if ".dist-info/" not in name} == {"fedsynth"}


@pytest.mark.slow
def test_an_installed_wheel(wheel: Path, environment: Environment, tmp_path: Path) -> None:
    environment.install(str(wheel))
    package = environment.site / "fedsynth"
    expect(probe(environment, tmp_path), package, package)
    (environment.site / "pyproject.toml").write_text(
        (ROOT / "pyproject.toml").read_text()
    )  # a stray one may even be ours
    expect(probe(environment, tmp_path), package, package)
    assert (environment.scripts / "fedsynth").exists()


@pytest.mark.slow
def test_an_editable_install(environment: Environment, tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    environment.install("-e", str(checkout))
    expect(probe(environment, tmp_path), checkout / "fedsynth", checkout)


def test_a_bare_checkout(checkout: Path, environment: Environment) -> None:
    expect(probe(environment, checkout), checkout / "fedsynth", checkout)


@pytest.mark.slow
def test_a_bare_checkout_is_not_mixed_with_another_that_is_installed(
    checkout: Path, environment: Environment, tmp_path: Path
) -> None:
    other = copy_checkout(tmp_path / "other")
    (other / "methods/only_there.py").write_text("")
    environment.install("-e", str(other))
    expect(probe(environment, checkout), checkout / "fedsynth", checkout)


def test_pytest_in_its_importlib_mode(checkout: Path, environment: Environment, tmp_path: Path) -> None:
    test = checkout / "tests/test_once.py"
    test.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from fedsynth.datasets.phantom import Phantom\n"
        "from fedsynth.registry import DATASETS\n"
        "def test_once():\n"
        "    assert DATASETS['phantom'] is Phantom\n"
        f"    assert Path(sys.modules[Phantom.__module__].__file__).is_relative_to({str(checkout)!r})\n"
        "    classes = [vars(m)['Phantom'] for m in sys.modules.values() if 'Phantom' in vars(m)]\n"
        "    assert len(set(classes)) == 1\n"
    )
    command = (
        environment.scripts / "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
    )
    assert "1 passed" in run_clean(*command, test, cwd=checkout)


PLUGIN = """
from dataclasses import dataclass
from fedsynth.method import Method

@dataclass
class Mine(Method):
    mu: float = 0.5
"""
WORKERS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from fedsynth.registry import METHODS

def main():
    import joblib
    names = ["acme", "fedbn", "mine"]
    sent = [METHODS[name]() for name in names]
    assert METHODS.broken() == {}
    # eval is importable in any worker, so that nothing but the pickled methods can lead to their modules
    code = "[(type(m), __import__('fedsynth').METHODS.name_of(type(m)), m) for m in methods]"
    expected = [(type(m), name, m) for m, name in zip(sent, names)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(eval, code, {"methods": sent}).result() == expected
    parallel = joblib.Parallel(n_jobs=2, backend="loky")
    assert parallel(joblib.delayed(eval)(code, {"methods": sent}) for _ in range(2)) == [expected] * 2
    print(*(f"{name}:{type(m).__module__}" for m, name in zip(sent, names)))

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["wheel", "editable", "checkout"])
def test_workers_unpickle_a_method_of_any_origin(
    layout: str, request: pytest.FixtureRequest, environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(WORKERS)
    (tmp_path / "mine.py").write_text(PLUGIN)
    acme = tmp_path / "acme"  # a package of somebody else with one entry point
    acme.mkdir()
    (acme / "acme_methods.py").write_text(PLUGIN)
    (acme / "pyproject.toml").write_text(
        '[project]\nname = "acme-methods"\nversion = "1.0"\n'
        '[project.entry-points."fedsynth.methods"]\nacme = "acme_methods:Mine"\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[tool.setuptools]\npy-modules = ["acme_methods"]\n'
    )
    path = {}
    if layout == "wheel":
        environment.install(str(acme), str(request.getfixturevalue("wheel")))
    elif layout == "editable":
        environment.install(str(acme), "-e", str(copy_checkout(tmp_path / "checkout")))
    else:
        environment.install(str(acme))
        path["PYTHONPATH"] = str(request.getfixturevalue("checkout"))
    said = run_clean(environment.scripts / "python", "script.py", cwd=tmp_path, FEDSYNTH_PLUGINS="mine.py", **path)
    assert said.split() == ["acme:acme_methods", "fedbn:fedsynth.methods.fedbn", "mine:fedsynth.plugins.mine"]


@pytest.mark.slow
def test_mypy_reads_through_the_rooms(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path)
    head = "from __future__ import annotations\n\n"
    wrong = {
        "datasets/wrong.py": "from fedsynth.federation import Task\n\nX: int = Task('T1', 'T2').source\n",
        "methods/wrong.py": "from .fedbn import FedBN\n\nX = FedBN(no_such_option=1)\n",
        "benchmarks/wrong.py": "from fedsynth.registry import METHODS\n\nX: int = METHODS['fedbn']\n",
        "benchmarks/absent.py": "from fedsynth.no_such_module import x\n",
    }
    for name, text in wrong.items():
        (checkout / name).write_text(head + text)
    command = [sys.executable, "-m", "mypy", "--no-incremental", *wrong]
    said = subprocess.run(command, cwd=checkout, capture_output=True, text=True).stdout
    for name, kind in zip(wrong, ("assignment", "call-arg", "assignment", "import-not-found"), strict=True):
        assert any(line.startswith(f"{name}:") and f"[{kind}]" in line for line in said.splitlines()), said
