"""Pages of docs/ run as a newcomer would: their files are saved, their commands typed, and what is printed compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.checkout import ROOT

MARK = "=== command"


def files(page: str) -> dict[str, str]:
    """The files that the page says to save."""
    found = re.findall(r"Save this as `([\w./]+)`[^`]*```\w+\n(.*?)```", page, re.DOTALL)
    return dict(found)


def commands(page: str) -> list[tuple[str, list[str]]]:
    """Each command of the console blocks, and the lines that it prints."""
    blocks = "".join(re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    found = re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]
    return [(command, lines) for command, *lines in (each.rstrip("\n").split("\n") for each in found)]


def without_numbers(line: str) -> str:
    """A line in which numbers, and the hash of a run's name, are the same whatever they were, as is the width of columns."""
    line = re.sub(r"-[0-9a-f]{12}\b", "-HASH", line)
    return re.sub(r"\s+", " ", re.sub(r"[-+]?\d+(?:[.,]\d+)*", "0", line)).strip()


def missing(told: list[str], printed: list[str]) -> list[str]:
    """The lines of the page that were not printed. Rows may be in another order; what a verdict says may differ."""
    free = re.compile(r"Verdict:|\.\.\.$|- ")
    there = {without_numbers(line) for line in printed}
    return [
        line for line in told if line.strip() and not free.match(line.strip()) and without_numbers(line) not in there
    ]


def not_shown(page: str, folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Save the page's files in a folder and run its commands there.

    Returns the commands that did not print what the page shows: the lines that are missing, and what was printed instead.
    """
    for name, text in files(page).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "bin").mkdir()
    for name, module in {"fedsynth": " -m fedsynth.benchmarks.cli", "python": ""}.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    told = commands(page)
    script = "\n".join(f"echo '{MARK}'\n{command}" for command, _ in told)
    paths = {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["sh", "-eu"],
        input=script,
        cwd=folder,
        env=os.environ | paths,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    printed = [part.splitlines() for part in done.stdout.split(f"{MARK}\n")[1:]]
    return {
        command: (lost, found)
        for (command, lines), found in zip(told, printed, strict=True)
        if (lost := missing(lines, found))
    }
