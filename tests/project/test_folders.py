"""What lies where: how many entries a folder has, what files may be called, and how long a method is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from support.source import ROOMS, ROOT

FOLDERS = (*ROOMS, "tests", "docs")


def entries(folder: Path, root: Path) -> list[str]:
    """What `ls` shows; at the top of the engine, only folders and Python files."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if not path.name.startswith((".", "__pycache__"))
        and (folder != root / "fedsynth" or path.is_dir() or path.suffix == ".py")
    )


def crowded(root: Path) -> list[str]:
    """The folders of the engine and of the harness that hold more than one can take in at a glance."""
    most = {root / "fedsynth": 16, root / "benchmarks": 13}
    folders = [path for top in most for path in (top, *top.rglob("*")) if path.is_dir() and path.name != "__pycache__"]
    return [
        f"{folder.relative_to(root)} has {len(found)} entries, at most {most.get(folder, 12)} are allowed: {', '.join(found)}"
        for folder in sorted(folders)
        if len(found := entries(folder, root)) > most.get(folder, 12)
    ]


def test_no_folder_is_crowded() -> None:
    assert crowded(ROOT) == []


@pytest.mark.parametrize(
    ("folder", "suffix", "most"),
    [
        ("fedsynth", ".py", 16),
        ("benchmarks", ".md", 13),
        ("benchmarks/report/plots", ".js", 12),
        ("fedsynth/site", ".py", 12),
    ],
)
def test_a_crowded_folder_is_named(tmp_path: Path, folder: str, suffix: str, most: int) -> None:
    for room in ("fedsynth", "benchmarks", folder):
        (tmp_path / room / "__pycache__").mkdir(parents=True, exist_ok=True)
    (tmp_path / "fedsynth" / "py.typed").touch()
    while len(entries(tmp_path / folder, tmp_path)) < most:
        (tmp_path / folder / f"file{len(entries(tmp_path / folder, tmp_path)):02}{suffix}").touch()
    assert crowded(tmp_path) == []
    (tmp_path / folder / f"one-more{suffix}").touch()
    (found,) = crowded(tmp_path)
    assert found.startswith(f"{folder} has {most + 1} entries, at most {most} are allowed: ")
    assert f"one-more{suffix}" in found


def sources(*suffixes: str) -> list[Path]:
    kept = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return sorted([*kept, *(path for path in ROOT.iterdir() if path.suffix in suffixes or path.name == "Makefile")])


def test_no_file_is_a_drawer() -> None:
    names = [str(path.relative_to(ROOT)) for path in sources(".py")]
    assert [name for name in names if re.search(r"(^|/|_)(utils?|helpers?|common|misc)\.py$", name)] == []


def test_a_function_that_is_too_complex_fails_the_lint(tmp_path: Path) -> None:
    body = "".join(f"    if x == {value}:\n        x += 1\n" for value in range(30))
    (tmp_path / "long.py").write_text(f"def f(x):\n{body}    return x\n")
    command = [sys.executable, "-m", "ruff", "check", "--config", ROOT / "pyproject.toml", "--output-format", "concise"]
    said = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False).stdout
    assert set(re.findall(r"long\.py:1:5: (\w+)", said)) == {"C901", "PLR0912", "PLR0915"}


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


def test_a_checkout_is_small() -> None:
    """Clones are made in a moment, and what carries the tree does not give up. Blocks of a disk have 4 KiB, as `du` counts."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split("\0") if name]
    assert len(names) < 700
    sizes = [path.stat().st_size for name in names if (path := ROOT / name).is_file()]
    assert sum(-(-size // 4096) * 4096 for size in sizes) < 25e6


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
