"""`fedsynth prune`: what is listed, what is removed, and what never is."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import finished

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.code_digest import digests
from fedsynth.benchmarks.records.store import Store
from fedsynth.registry import DATASETS, METHODS, NETWORKS

DAY = 86400


def today(**code: str) -> dict[str, str]:
    """The digests of FedAvg on the phantom, with others in the place of some."""
    own = {"method": METHODS["fedavg"], "network": NETWORKS["resnet"], "dataset": DATASETS["phantom"]}
    return {kind: digests()[cls] for kind, cls in own.items()} | code


def made(store: Store, **what: Any) -> str:
    return finished.finish(store, finished.identity(**{"code": today()} | what))


@pytest.fixture(name="runs")
def _runs(tmp_path: Path) -> dict[str, str]:
    """A run of each kind in a store: name by kind."""
    store = Store(tmp_path)
    runs = {
        "current": made(store),
        "edited": made(store, seed=1, code=today(method="0" * 12, network="0" * 12)),
        "of a plug-in": made(store, seed=2, method={"name": "theirs"}, code=today(method="0" * 12)),
    }
    for kind, seed in (("half", 3), ("failed", 4)):
        what = finished.identity(seed=seed, code=today())
        runs[kind] = finished.record(what).run
        store.folder(runs[kind]).mkdir(parents=True)
        store.begin(runs[kind], what)
    store.fail(runs["failed"], OSError("disk is full\nreally"))
    return runs


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Name -> what is said of it, of all that is listed."""
    assert main(["prune", *words]) == 0
    *lines, _ = capsys.readouterr().out.splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def test_without_a_criterion_it_lists_what_failed_and_what_was_superseded_and_removes_nothing(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[:-1]] == [[runs["edited"], "done"], [runs["failed"], "failed"]]
    assert said[0].endswith("MB  superseded: the code of its network and method was edited since")
    assert said[1].endswith("MB  OSError: disk is full")
    assert said[2].startswith("2 runs, ")
    assert said[2].endswith("; --yes removes them.")
    assert Store(tmp_path).names() == sorted(runs.values())


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["--superseded"], ["edited"]),
        (["--state", "half-finished"], ["half"]),
        (["--state", "half-finished", "--state", "done"], ["half", "current", "edited", "of a plug-in"]),
        (["--superseded", "--state", "failed"], []),
        (["*-s0-*"], ["current"]),
        (["*-s0-*", "--superseded"], []),
        (["--older", "30d"], ["of a plug-in"]),
        (["--older", "30d", "--state", "failed"], []),
    ],
    ids=" ".join,
)
def test_a_run_must_meet_all_criteria(
    words: list[str], kinds: list[str], runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Store(tmp_path).folder(runs["of a plug-in"])
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.time() - 31 * DAY,) * 2)
    assert set(listed(capsys, *words, "--results", str(tmp_path))) == {runs[kind] for kind in kinds}


def test_with_yes_it_removes_them_and_what_their_tracker_wrote(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = tmp_path / "tensorboard" / runs["edited"] / "events"
    events.parent.mkdir(parents=True)
    events.write_bytes(bytes(1_500_000))
    assert main(["prune", "--superseded", "--yes", "--results", str(tmp_path)]) == 0
    assert "Removed: 1 run, 1.5 MB." in capsys.readouterr().out
    assert Store(tmp_path).names() == sorted(set(runs.values()) - {runs["edited"]})
    assert not events.parent.exists()
    assert not (tmp_path / ".pruned").exists()


def test_a_run_on_which_a_process_works_is_left_alone(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    with store.claim(runs["failed"]):
        assert runs["failed"] not in listed(capsys, "--results", str(tmp_path))
    status = Store.status

    def begun_since(self: Store, run: str) -> Any:
        """The state before a process took the run up again."""
        found = status(self, run)
        claims.enter_context(self.claim(run))
        return found

    with ExitStack() as claims:
        monkeypatch.setattr(Store, "status", begun_since)
        assert main(["prune", "--state", "failed", "--yes", "--results", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"{runs['failed']}: left alone, as a process works on it" in said
    assert store.folder(runs["failed"]).exists()


def test_what_is_no_age_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--older", "soon", "--results", str(tmp_path)]) == 2
    assert "'soon' is no age; 12h, 30d and 8w are" in capsys.readouterr().err
