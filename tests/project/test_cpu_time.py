"""The end of a run of tests says how many CPU seconds it took, and names the tests that took too many."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.source import ROOT

TESTS = """
import os, subprocess, sys
import pytest

real, added = os.times, 0.0

def later():  # as if children had taken the added seconds
    now = real()
    return (*now[:2], now[2] + added, *now[3:])

os.times = later

def test_child():
    subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.5: pass"], check=True)

@pytest.fixture
def slow_to_end():
    yield
    global added
    added += 11

def test_short():
    global added
    added += 9

def test_long(slow_to_end): ...

@pytest.mark.slow
def test_marked():
    global added
    added += 590
"""


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2", "--dist", "loadfile")])
def test_what_takes_long_is_named(tmp_path: Path, workers: tuple[str, ...]) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: takes long\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=found.xml", *workers]
    light = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=light, capture_output=True, text=True, check=True)
    named = [line for line in done.stdout.splitlines() if "CPU-seconds" in line]
    assert named == ["11.0 CPU-seconds, which is for a test marked slow: test_some.py::test_long"]
    (minutes,) = re.findall(r"^([\d.]+) CPU-minutes$", done.stdout, re.MULTILINE)
    assert 10 < float(minutes) < 10.9  # 610 seconds, and those of Python and pytest
    seconds = re.findall(
        r'name="test_child".*?name="CPU seconds" value="([\d.]+)"', (tmp_path / "found.xml").read_text()
    )
    assert float(*seconds) > 0.4
