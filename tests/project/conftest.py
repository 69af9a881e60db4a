"""What tests of installed packages share: a copy of the checkout, a wheel, and an environment with neither."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.environments import Environment, copy_checkout, run_clean


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, which was built from a copy of the checkout."""
    work = tmp_path_factory.mktemp("build")
    run_clean(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", work / "dist", copy_checkout(work / "checkout")
    )
    (found,) = (work / "dist").glob("*.whl")
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")
