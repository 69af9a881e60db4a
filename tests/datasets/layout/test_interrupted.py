"""A preparation that is killed, fills the disk, shares its work or meets another loses nothing and does nothing twice."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support import trees
from support.source import ROOT

from fedsynth.datasets.layout import subject
from fedsynth.datasets.layout.prepare import uninterrupted
from fedsynth.datasets.store.pseudonyms import FILE
from fedsynth.federation import FederationError
from fedsynth.runtime.claim import claim


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.folder(tmp_path / "in")
    return tmp_path / "in"


@pytest.mark.slow
def test_a_killed_preparation_goes_on_where_it_stopped(root: Path, tmp_path: Path) -> None:
    """SIGKILL ends it in its third subject. The same command then processes only the other six, and makes the same store."""
    code = f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT)!r}]
from support import trees
from fedsynth.datasets.layout import subject
process, made = subject.process, []
def slow(name, *rest):
    made.append(name)
    if len(made) == 3 and sys.argv[1] == "hang":
        print("third", flush=True)
        time.sleep(600)
    return process(name, *rest)
subject.process = slow
trees.layout("folder", Path({str(root)!r})).prepare()
print(len(made))
"""
    with subprocess.Popen([sys.executable, "-c", code, "hang"], stdout=subprocess.PIPE, text=True) as hung:
        assert hung.stdout is not None
        assert hung.stdout.readline() == "third\n"
        hung.send_signal(signal.SIGKILL)
    assert not (tmp_path / "in-store").exists()
    done = subprocess.run([sys.executable, "-c", code, "go"], capture_output=True, text=True, check=True)
    assert done.stdout == "6\n"
    (tmp_path / "whole").mkdir()
    shutil.copy(tmp_path / "in-store" / FILE, tmp_path / "whole")  # its salt
    whole = trees.layout("folder", root, out=str(tmp_path / "whole")).prepare().folder
    ours, theirs = trees.content(tmp_path / "in-store"), trees.content(whole)
    assert {k: v for k, v in ours.items() if k != "dataset.json"} == {
        k: v for k, v in theirs.items() if k != "dataset.json"
    }
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("subject", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        ("store", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        ("store", OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "a file"), "File name too long"),
        (
            "subject",
            OSError("9 requested and 4 written"),
            "9 requested and 4 written: the disk is full",
        ),  # as numpy says it
    ],
)
def test_a_full_disk_leaves_the_store_as_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: OSError, message: str
) -> None:
    store = trees.layout("folder", root).prepare()
    before = trees.content(store.folder)
    trees.nifti(root / "north" / "p0" / "T1.nii.gz", trees.stacks("midas", 99)["T1"])
    save, calls = np.save, []

    def full(path: Path, array: np.ndarray) -> None:
        calls.append(path)
        if len(calls) == (2 if where == "subject" else 4):
            raise error
        save(path, array)

    monkeypatch.setattr(np, "save", full)
    remedy = "give another folder by dataset.out, or mend a file" if error.errno == errno.ENAMETOOLONG else "make room"
    with pytest.raises(FederationError, match=rf"in-store cannot be written \({message}\).*partial: {remedy} and run"):
        trees.layout("folder", root).prepare()
    monkeypatch.undo()
    assert trees.content(store.folder) == before
    assert sorted(path.name for path in tmp_path.glob(".in-store.*")) == [".in-store.lock", ".in-store.partial"]
    after = trees.layout("folder", root).prepare()
    assert trees.content(after.folder) != before


@pytest.mark.slow
def test_several_processes_make_the_same_store(root: Path, tmp_path: Path) -> None:
    one = trees.layout("folder", root, out=str(tmp_path / "one")).prepare().folder
    (tmp_path / "two").mkdir()
    shutil.copy(one / FILE, tmp_path / "two")  # its salt
    two = trees.layout("folder", root, out=str(tmp_path / "two")).prepare(jobs=2).folder
    assert {k: v for k, v in trees.content(one).items() if k != "dataset.json"} == {
        k: v for k, v in trees.content(two).items() if k != "dataset.json"
    }


def test_a_second_process_waits_and_finds_the_store_finished(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process, made = subject.process, []
    monkeypatch.setattr(subject, "process", lambda name, *rest: made.append(name) or process(name, *rest))
    monkeypatch.setattr(
        "fedsynth.datasets.layout.prepare.claim", partial(claim, patience=0.0)
    )  # who waits for a second only says nothing of it
    with ThreadPoolExecutor(2) as pool:
        stores = list(
            pool.map(lambda layout: layout.prepare(), [trees.layout("folder", root), trees.layout("folder", root)])
        )
    assert stores[0].folder == stores[1].folder
    assert len(made) == 8
    assert "another process prepares" in capsys.readouterr().err
    (left := tmp_path / ".in-store.partial").mkdir()  # of a command that was stopped after it had made the store
    trees.layout("folder", root).prepare()
    assert not left.exists()


def test_processes_that_share_the_work_leave_ctrl_c_to_the_main_process() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    with uninterrupted():
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGINT
