"""The folder of runs: who works on a run, and what state it is in."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.record import LARGEST, LARGEST_RECORD
from fedsynth.benchmarks.records.store import RunStatus, State, Store
from fedsynth.benchmarks.report.failures import Failure, failures

WHAT = finished.identity(trainer={"rounds": 16})
RUN = finished.record(WHAT).run

WORKER = """
import sys
from pathlib import Path
from support import finished
from fedsynth.benchmarks.records.store import Store

store, what = Store(Path(sys.argv[1])), finished.identity(trainer={"rounds": 16})
run = finished.record(what).run
with store.claim(run) as mine:
    if not mine:
        print("skips")
    elif store.record(run):
        print("finished before")
    else:
        store.begin(run, what)
        store.note(run, 3, 16)
        print("works", flush=True)
        sys.stdin.readline()
        finished.finish(store, what)
        print("finished")
"""


@contextmanager
def worker(results: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that works on the run until it is told to finish it."""
    paths = [str(ROOT), str(ROOT / "tests")]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{WORKER}", str(results)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_two_processes_on_one_run_one_works_and_the_other_skips(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with worker(tmp_path) as first:
        assert next_line(first) == "works"
        with worker(tmp_path) as second:
            assert next_line(second) == "skips"
        assert store.status(RUN) == RunStatus(RUN, State.running, 3, 16)
        first.communicate("finish\n")
    with worker(tmp_path) as third:
        assert next_line(third) == "finished before"
    assert store.status(RUN) == RunStatus(RUN, State.done, 16, 16)


def test_a_killed_process_lets_go_of_its_run(tmp_path: Path) -> None:
    with worker(tmp_path) as first:
        assert next_line(first) == "works"
        first.kill()
        first.wait()
        assert Store(tmp_path).status(RUN) == RunStatus(RUN, State.unfinished, 3, 16)
        with worker(tmp_path) as second:
            assert next_line(second) == "works"


def test_somebody_who_looks_keeps_nobody_from_working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.folder(RUN).mkdir(parents=True)
    with (store.folder(RUN) / "lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr("fedsynth.runtime.claim.time.sleep", lambda seconds: fcntl.flock(looking, fcntl.LOCK_UN))
        with store.claim(RUN) as mine:
            assert mine


def test_without_locks_a_run_is_claimed_by_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    store = Store(tmp_path)
    with store.claim(RUN) as mine, Store(tmp_path).claim(RUN) as theirs:
        assert (mine, theirs) == (True, False)
        store.begin(RUN, WHAT)
        assert Store(tmp_path).status(RUN).state is State.running
    assert Store(tmp_path).status(RUN).state is State.unfinished


def test_a_store_on_a_network_says_how_its_runs_are_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Store(tmp_path).claiming == ""
    (tmp_path / "mountinfo").write_text("1 0 8:1 / / rw - nfs server:/export rw,nolock\n")
    monkeypatch.setattr("fedsynth.runtime.claim.MOUNTS", tmp_path / "mountinfo")
    assert "is on nfs with nolock: its locks hold on one machine only; so runs are claimed" in Store(tmp_path).claiming


def test_a_failed_attempt_leaves_its_reason_and_the_next_one_clears_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.claim(RUN):
        store.begin(RUN, WHAT)
        assert json.loads((store.folder(RUN) / "identity.json").read_text()) == WHAT
        store.note(RUN, 5, 16)
        try:
            raise OSError("disk is full")
        except OSError as error:
            note = store.fail(RUN, error)
    assert note.name == "attempt-1.txt"
    lines = note.read_text().splitlines()
    assert lines[1:4] == ["OSError: disk is full", "", "Traceback (most recent call last):"]
    assert any(line.startswith("  File") and "test_store.py" in line for line in lines)  # as Python prints it
    assert store.status(RUN) == RunStatus(RUN, State.failed, 5, 16, "OSError: disk is full", note)
    with store.claim(RUN):
        store.begin(RUN, WHAT)
        assert store.status(RUN) == RunStatus(RUN, State.running, 5, 16)
        assert store.fail(RUN, ValueError("a volume is cut short")).name == "attempt-2.txt"
    assert store.status(RUN).reason == "ValueError: a volume is cut short"
    for _ in range(8):
        store.fail(RUN, ValueError("again"))
    assert store.status(RUN).note == store.folder(RUN) / "attempt-10.txt"
    finished.finish(store, WHAT)
    assert store.status(RUN) == RunStatus(RUN, State.done, 16, 16)


def test_a_note_that_was_cut_short_is_a_failure_without_a_reason(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder(RUN).mkdir(parents=True)
    for name in ("attempt-1.txt", "attempt-x.txt"):
        (store.folder(RUN) / name).write_text("")
    assert failures(store, [], []) == [Failure(RUN, "half-finished, round 0 of 0", "", 1)]
    store.note(RUN, 1, 2, "failed: a reason")
    (store.folder(RUN) / "attempt-1.txt").unlink()
    assert store.status(RUN).note is None


def test_diverged_and_damaged_are_told_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    bad = finished.finish(store, finished.identity(seed=1), status="diverged", reason="the loss is not finite")
    good = finished.finish(store, WHAT)
    assert store.status(bad) == RunStatus(bad, State.diverged, 100, 100, "the loss is not finite")
    low = finished.finish(store, finished.identity(seed=2), below_floor=True, reason="validation PSNR ends at 8.00 dB")
    assert store.status(low) == RunStatus(low, State.done, 100, 100, "validation PSNR ends at 8.00 dB")
    (store.folder(good) / "scores.csv").write_text("")
    assert store.status(good).state is State.damaged
    records, damaged = store.records()
    assert {record.run: record.below_floor for record in records} == {bad: False, low: True}
    assert len(damaged) == 1
    assert "scores.csv" in damaged[0]


def test_runs_are_chosen_by_patterns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.names() == []
    assert store.records() == ([], [])
    runs = [finished.finish(store, finished.identity(method={"name": name})) for name in ("fedavg", "fedbn", "local")]
    (store.runs / "note.txt").write_text("not a run")
    for name in ("old runs", "\x1b[31m", os.fsdecode(b"\xff")):  # the page could not hold the last one
        (store.runs / name).mkdir()
    assert store.names() == sorted(runs)
    assert store.names(["fed*", "*bn*"]) == sorted(runs[:2])
    assert [record.run for record in store.records(["local-*"])[0]] == [runs[2]]
    assert store.names(["Local*"]) == []
    assert store.record("fedavg") is None


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "", "7", '{"round": null, "rounds": 3, "failed": ""}', '{"rounds": 3}', "{"),
        *("[" * 100_000, '{"round": Infinity, "rounds": 3, "failed": ""}'),
    ],
)
def test_a_damaged_note_of_progress_hides_only_how_far_a_run_came(tmp_path: Path, content: str) -> None:
    store = Store(tmp_path)
    store.folder("a-run-0123456789ab").mkdir(parents=True)
    store.begin("a-run-0123456789ab", {"trainer": {"rounds": 3}})
    for name in ("progress.json", "identity.json"):
        (store.folder("a-run-0123456789ab") / name).write_text(content)
    assert store.identity("a-run-0123456789ab") == {}
    assert store.status("a-run-0123456789ab") == RunStatus("a-run-0123456789ab", State.unfinished)


def replaced(path: Path, by: str) -> None:
    """A pipe, a device of the system, a folder or a far too large file where a run has one of its own."""
    path.unlink()
    if by == "pipe":
        os.mkfifo(path)
    elif by == "folder":
        path.mkdir()
    elif by == "large":
        path.touch()
        os.truncate(path, LARGEST + 1)
    else:
        path.symlink_to(by)


@pytest.mark.parametrize("by", ["pipe", "folder", "large", "/proc/kmsg", "/dev/zero"])
@pytest.mark.parametrize("name", ["record.json", "scores.csv"])
def test_what_is_no_file_of_a_run_is_not_read_and_hides_no_other_run(tmp_path: Path, name: str, by: str) -> None:
    store = Store(tmp_path)
    bad, good = (finished.finish(store, finished.identity(method={"name": method})) for method in ("fedavg", "local"))
    replaced(store.folder(bad) / name, by)
    records, damaged = store.records()
    assert [record.run for record in records] == [good]
    assert [bad in reason for reason in damaged] == [True]
    assert store.status(bad).state is State.damaged


def test_an_archive_that_cannot_be_read_or_is_a_bomb_hides_no_other_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    good = finished.finish(store, finished.identity())
    (tmp_path / "records-1.zip").write_text("no archive")
    with ZipFile(tmp_path / "records-2.zip", "w", ZIP_DEFLATED) as archive:
        archive.writestr("large-x-s0-0123456789ab/record.json", bytes(LARGEST_RECORD + 1))
        archive.writestr("locked-x-s0-0123456789ab/record.json", "{}")
        archive.filelist[-1].flag_bits |= 1  # of its table of contents: it is encrypted
    assert [run.record.run for run in finished_runs(store)] == [good]
    said = capsys.readouterr().err
    assert "records-1.zip: its runs cannot be read" in said
    assert "record.json has 10 MB, and no such file of a run has more than 10" in said
    assert "is encrypted" in said
    assert "not finished" not in said
