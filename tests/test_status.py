"""`fedsynth status`: every state in a line that says how far and why."""

from __future__ import annotations

from pathlib import Path

import finished
import pytest

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.store import Store


def begun(store: Store, method: str, round: int) -> str:
    what = finished.identity(method={"name": method}, trainer={"rounds": 16})
    run = finished.record(what).run
    store.folder(run).mkdir(parents=True)
    store.begin(run, what)
    store.note(run, round, 16)
    return run


def lines(text: str) -> dict[str, str]:
    """What is said of each method's run, by method."""
    return {line.partition("-")[0]: " ".join(line.split()[1:]) for line in text.splitlines() if "-variable-s0-" in line}


def test_every_state_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    finished.finish(store, finished.identity(method={"name": "done"}))
    what = finished.identity(method={"name": "diverged"})
    finished.finish(store, what, status="diverged", reason="the loss at site ixi is not finite in round 2")
    damaged = finished.finish(store, finished.identity(method={"name": "damaged"}))
    (store.folder(damaged) / "record.json").write_text("{}")
    begun(store, "half", 3)
    begun(store, "early", 0)
    store.fail(begun(store, "failed", 2), OSError("disk is full\nreally"))
    with store.claim(begun(store, "running", 7)):
        assert main(["status", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    told = lines(out)
    assert told.pop("damaged").startswith("damaged ")
    assert told == {
        "done": "done",
        "diverged": "diverged the loss at site ixi is not finite in round 2",
        "half": "half-finished in round 3 of 16",
        "early": "half-finished before its first round ended",
        "failed": "failed in round 2 of 16: OSError: disk is full",
        "running": "running in round 7 of 16",
    }
    assert "1 done, 1 diverged, 1 running, 2 half-finished, 1 failed, 1 damaged" in out


def test_only_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    for name in ("fedavg", "local"):
        finished.finish(store, finished.identity(method={"name": name}))
    assert main(["status", "local-*", "--results", str(tmp_path)]) == 0
    assert list(lines(capsys.readouterr().out)) == ["local"]
    assert main(["status", "fedbn-*", "--results", str(tmp_path)]) == 1
    assert "no run named fedbn-*" in capsys.readouterr().err
