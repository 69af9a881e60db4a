"""What holds for every test: one thread a process, and tests marked `gpu` only where there is one."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for what tests start


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "gpu" in item.keywords:
        import torch  # 2 s, which most test files need not pay

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
