"""Pages of docs/ that a test executes: their blocks, tables and commands, run as a newcomer would, and what these print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from support.source import ROOT

MARK = "=== command"


@dataclass(frozen=True)
class DocPage:
    """A page of docs/, by its name without `.md`."""

    name: str

    @cached_property
    def text(self) -> str:
        return (ROOT / "docs" / f"{self.name}.md").read_text("utf-8")

    @property
    def files(self) -> dict[str, str]:
        """The files that the page says to save."""
        found = re.findall(r"Save this as `([\w./]+)`[^`]*```\w+\n(.*?)```", self.text, re.DOTALL)
        return dict(found)

    def block(self, language: str) -> str:
        """The page's only block in this language."""
        (block,) = re.findall(rf"```{language}\n(.*?)```", self.text, re.DOTALL)
        assert isinstance(block, str)
        return block

    def commands(self, place: int | None = None) -> str:
        """The commands of the page's only console block, or of the one in this place, as a script."""
        blocks = re.findall(r"```console\n(.*?)```", self.text, re.DOTALL)
        lines = (self.block("console") if place is None else blocks[place]).splitlines()
        assert all(line.startswith("$ ") for line in lines)
        return "\n".join(line.removeprefix("$ ") for line in lines)

    def shown(self) -> list[tuple[str, list[str]]]:
        """Each command of the console blocks, and the lines that it prints."""
        blocks = "".join(re.findall(r"^```console\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE))
        found = re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]
        return [(command, lines) for command, *lines in (each.rstrip("\n").split("\n") for each in found)]

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

    def not_shown(self, folder: Path) -> dict[str, tuple[list[str], list[str]]]:
        """Save the page's files in a folder and run its commands there.

        Returns the commands that did not print what the page shows: the lines that are missing, and what was printed instead.
        """
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        script = "\n".join(f"echo '{MARK}'\n{command}" for command, _ in self.shown())
        printed = [part.splitlines() for part in run(folder, script).split(f"{MARK}\n")[1:]]
        return {
            command: (lost, found)
            for (command, lines), found in zip(self.shown(), printed, strict=True)
            if (lost := missing(lines, found))
        }


def run(folder: Path, script: str, interpreter: str = sys.executable, **environment: str) -> str:
    """The output of a script that is run in `folder`, where `fedsynth` is this checkout's and packages lie in `folder/site`."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, module in {"fedsynth": " -m fedsynth.benchmarks.cli", "python": ""}.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{interpreter}"{module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    paths = {
        "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=folder,
        env=os.environ | paths | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def missing(told: list[str], printed: list[str]) -> list[str]:
    """The lines of a page that were not printed. Rows may be in another order; what a verdict says may differ."""
    free = re.compile(r"Verdict:|\.\.\.$|- ")
    there = {without_numbers(line) for line in printed}
    return [
        line for line in told if line.strip() and not free.match(line.strip()) and without_numbers(line) not in there
    ]


def without_numbers(line: str) -> str:
    """A line in which numbers, a run's hash, and the site of the least gain are the same, as is the width of columns.

    Where gains are nearly equal, another processor's rounding finds the least at another site.
    """
    line = re.sub(r"-[0-9a-f]{12}\b", "-HASH", line)
    line = re.sub(r"(?<=\bleast at )[\w-]+", "SITE", line)
    return re.sub(r"\s+", " ", re.sub(r"[-+]?\d+(?:[.,]\d+)*", "0", line)).strip()
