"""docs/adding-a-method.md does what it says: its file is a method, its commands run, its package is found, its names exist."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.checkout import ROOT

from fedsynth.exchange import Place
from fedsynth.method import Method
from fedsynth.registry import METHODS
from fedsynth.server import Server
from fedsynth.site import SiteState

PAGE = (ROOT / "docs" / "adding-a-method.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def table(header: str) -> list[list[str]]:
    """The cells of the table whose header begins with this."""
    (lines,) = re.findall(rf"\| {header} \|.*\n\|[ -|]*\n((?:\|.*\n)+)", PAGE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines.splitlines()]


def shell(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in `folder`, where `fedsynth` is this checkout's."""
    command = folder / "bin" / "fedsynth"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fedsynth.benchmarks.cli "$@"\n')
    command.chmod(0o755)
    paths = {
        "PATH": os.pathsep.join([str(command.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        ["sh", "-euxc", script], cwd=folder, env=os.environ | paths | environment, capture_output=True, text=True
    )


def test_the_file_and_the_commands(tmp_path: Path) -> None:
    """As a newcomer types them: the method is listed, checked, run beside another, run with its option, and ranked."""
    (source,) = blocks("python")
    (tmp_path / "proximal.py").write_text(source)
    (console,) = blocks("console")
    assert all(line.startswith("$ ") for line in console.splitlines())
    done = shell(tmp_path, "\n".join(line.removeprefix("$ ") for line in console.splitlines()))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  proximal +A proximal method: FedAvg with a pull", done.stdout, re.MULTILINE)
    assert "broken" not in done.stdout
    runs = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "results" / "runs").iterdir())
    assert runs == ["fedavg-variable-s0", "proximal-variable-s0", "proximal-variable-s0"]
    board = done.stdout[done.stdout.rindex("keeps local what is local") :]
    assert "fedavg" in board
    assert "mu=0.1" in board


def test_the_package(tmp_path: Path) -> None:
    (source,), (declared,) = blocks("python"), blocks("toml")
    (name, target), *others = tomllib.loads(declared)["project"]["entry-points"]["fedsynth.methods"].items()
    assert not others
    package, _, module = target.partition(":")[0].partition(".")
    (tmp_path / "site" / package).mkdir(parents=True)
    (tmp_path / "site" / package / "__init__.py").write_text("")
    (tmp_path / "site" / package / f"{module}.py").write_text(source)
    info = tmp_path / "site" / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fedsynth.methods]\n{name} = {target}\n")
    done = shell(tmp_path, "fedsynth list methods")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^  {name} .*\[my_package 1\.0 \(my_package\.proximal:Proximal\)\]$", done.stdout, re.MULTILINE)


def test_every_hook_is_in_the_table_with_its_arguments() -> None:
    told = {cells[0].strip("`") for cells in table("hook")}
    hooks = {
        f"{name}({', '.join(list(inspect.signature(member).parameters)[1:])})"
        for name, member in vars(Method).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert told == hooks


@pytest.mark.parametrize("hook", [cells[0] for cells in table("hook")])
def test_the_examples_of_a_hook_override_it(hook: str) -> None:
    name = hook.strip("`").partition("(")[0]
    (cells,) = (cells for cells in table("hook") if cells[0] == hook)
    told = set(re.findall(r"`(\w+)`", cells[2]))
    assert told <= {method for method, entry in METHODS.entries().items() if name in vars(entry.cls)}


def test_the_tools_and_places_that_it_names_exist() -> None:
    (site,) = re.findall(r"`site` offers(.*?); `server`", PAGE, re.DOTALL)
    (server,) = re.findall(r"`server` offers(.*?)\.\n", PAGE, re.DOTALL)
    for names, owner in ((site, SiteState), (server, Server)):
        assert [name for name in re.findall(r"`(\w+)`", names) if not hasattr(owner, name)] == []
    assert set(re.findall(r"place\.(\w+)", PAGE)) <= {*dir(Place), *Place.__dataclass_fields__}
