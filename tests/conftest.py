"""What holds for every test: one thread a process, tests marked `gpu` only where there is one, and CPU seconds counted."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for what tests start

MARKED = ("slow", "long", "gpu")
MOST = 10.0  # CPU seconds that a test without one of these marks may take
CPU = "CPU seconds"  # of a test, children included: among its properties, which --junitxml writes too
STARTED = pytest.StashKey[float]()
WORKERS = pytest.StashKey[list[float]]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "gpu" in item.keywords:
        import torch  # 2 s, which most test files need not pay

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture
def _any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 is imitated where the machine lacks it; runs refuse that."""
    monkeypatch.setattr("fedsynth.runtime.device.has_bf16", lambda device: True)


def cpu_seconds() -> float:
    """The CPU seconds of this process and of the children that it has waited for."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[STARTED] = cpu_seconds()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """The report of the teardown, which is the last one, carries the seconds of the whole test with its fixtures."""
    if call.when == "teardown":
        item.user_properties.append((CPU, cpu_seconds() - item.stash[STARTED]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the controller what it took."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[CPU] = cpu_seconds()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    told = getattr(node, "workeroutput", {})  # of a worker that crashed there is none
    node.config.stash.setdefault(WORKERS, []).append(told.get(CPU, 0.0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    workers = config.stash.get(WORKERS, None)
    # of workers that have ended the controller's own times would hold the seconds once more
    total = cpu_seconds() if workers is None else sum(workers) + sum(os.times()[:2])
    over = {
        report.nodeid: seconds
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and not any(mark in report.keywords for mark in MARKED)
        for name, seconds in report.user_properties
        if name == CPU and seconds > MOST
    }
    terminalreporter.section("CPU time, children included")
    terminalreporter.line(f"{total / 60:.1f} CPU-minutes")
    for test, seconds in sorted(over.items(), key=lambda item: -item[1]):
        terminalreporter.line(f"{seconds:.1f} CPU-seconds, which is for a test marked slow: {test}")
