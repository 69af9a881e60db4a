"""Where there is no terminal, progress is lines with the time left, and none for what is soon done."""

from __future__ import annotations

import io
from weakref import WeakSet

import pytest

from fedsynth.runtime import progress
from fedsynth.runtime.progress import ProgressBar


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests move on."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def test_a_line_every_half_a_minute_says_how_far_it_is_and_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressBar(total=20, desc="a run", unit="round") as bar:
        for number in range(16):
            clock[0] += 10
            bar.set_postfix_str(f"loss {number}", refresh=False)
            bar.update(0.5)
    assert capsys.readouterr().err.splitlines() == [
        "a run: 1.5 of 20 rounds, 06:10 left, loss 2",
        "a run: 3 of 20 rounds, 05:40 left, loss 5",
        "a run: 4.5 of 20 rounds, 05:10 left, loss 8",
        "a run: 6 of 20 rounds, 04:40 left, loss 11",
        "a run: 7.5 of 20 rounds, 04:10 left, loss 14",
    ]


def test_what_is_soon_done_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in ProgressBar(range(10), "reading", unit="run"):
        clock[0] += progress.SECONDS / 11
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgressBar, "_instances", WeakSet())  # a bar that another test left open would stand above it
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    for _ in ProgressBar(range(3), "reading", unit="run"):
        pass
    assert "reading:   0%|" in terminal.getvalue()
    assert terminal.getvalue().rpartition("\r")[2].strip() == ""  # the bar is wiped
