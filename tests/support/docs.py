"""Pages of docs/ that a test executes: their blocks, their tables and their commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from support.checkout import ROOT


@dataclass(frozen=True)
class DocPage:
    """A page of docs/, by its name without `.md`."""

    name: str

    @cached_property
    def text(self) -> str:
        return (ROOT / "docs" / f"{self.name}.md").read_text()

    def block(self, language: str) -> str:
        """The page's only block in this language."""
        (block,) = re.findall(rf"```{language}\n(.*?)```", self.text, re.DOTALL)
        assert isinstance(block, str)
        return block

    def commands(self) -> str:
        """The commands of the page's console block, as a script."""
        lines = self.block("console").splitlines()
        assert all(line.startswith("$ ") for line in lines)
        return "\n".join(line.removeprefix("$ ") for line in lines)

    def table(self, header: str) -> list[list[str]]:
        """The cells of the table whose header begins with this."""
        (lines,) = re.findall(rf"\| {header} \|.*\n\|[ -|]*\n((?:\|.*\n)+)", self.text)
        return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines.splitlines()]

    def install(self, folder: Path, group: str) -> str:
        """Install the package that the page's toml block declares, with the page's file, for `run`; return its entry point."""
        ((name, target),) = tomllib.loads(self.block("toml"))["project"]["entry-points"][group].items()
        package, _, module = target.partition(":")[0].partition(".")
        (folder / "site" / package).mkdir(parents=True)
        (folder / "site" / package / "__init__.py").write_text("")
        (folder / "site" / package / f"{module}.py").write_text(self.block("python"))
        info = folder / "site" / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
        return f"{name} = {target}"


def run(folder: Path, script: str, **environment: str) -> str:
    """The output of a script that is run in `folder`, where `fedsynth` is this checkout's and packages lie in `folder/site`."""
    command = folder / "bin" / "fedsynth"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fedsynth.benchmarks.cli "$@"\n')
    command.chmod(0o755)
    paths = {
        "PATH": os.pathsep.join([str(command.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["sh", "-euxc", script], cwd=folder, env=os.environ | paths | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
