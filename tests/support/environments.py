"""Fresh environments, wheels and copies of the checkout, for tests of what is installed. Nothing is downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from support.source import ROOMS, ROOT

FILES = ("pyproject.toml", "README.md", "LICENSE")
SOURCE = tuple(
    sorted(
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    )
)


class Environment:
    """A virtual environment without pip. Its libraries are those of this one, except what is installed here as editable."""

    def __init__(self, folder: Path) -> None:
        venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder)
        scheme = {"base": str(folder), "platbase": str(folder)}
        self.site = Path(sysconfig.get_path("purelib", "venv", scheme))
        self.scripts = Path(sysconfig.get_path("scripts", "venv", scheme))
        libraries = [path for path in sys.path if Path(path).name == "site-packages"]
        # the .pth files that lie in these are not read, so an editable install of this checkout is not seen
        (self.site / "libraries.pth").write_text("\n".join(libraries))
        self.write("datasets/__init__.py", "MARK = 'theirs'")
        self.write("methods/stray.py", "")
        self.write("pyproject.toml", '[project]\nname = "somebody-elses"\n')

    def write(self, path: str, text: str) -> None:
        (self.site / path).parent.mkdir(exist_ok=True)
        (self.site / path).write_text(text)

    def install(self, *what: str) -> None:
        offline = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--no-warn-script-location")
        run_clean(sys.executable, "-m", "pip", "--python", self.scripts / "python", "install", "-q", *offline, *what)

    def python(self, code: str, cwd: Path, **environment: str) -> str:
        return run_clean(self.scripts / "python", "-W", "error", "-c", code, cwd=cwd, **environment)


def run_clean(*command: object, cwd: Path | None = None, **environment: str) -> str:
    """Its standard output. If it fails, both of its streams are shown."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "FEDSYNTH"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command} said\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def copy_checkout(folder: Path) -> Path:
    """What is installed, with files of other folders that must not be."""
    for name in (*SOURCE, *FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("tests/test_nothing.py", "results/run.py", "docs/page.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    return folder
