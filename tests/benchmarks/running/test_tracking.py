"""What a tracker sees of a run, interrupted or not, and what TensorBoard makes of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from support import finished
from support.federations import federation, options, resnet

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.schema import Tracking, check_installed
from fedsynth.benchmarks.records.record import CURVE, Rows, read_curve, read_scores
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.running.training.tracking import Tracker, followed, tracker
from fedsynth.method import Method
from fedsynth.trainer import Trainer

RUN = ["run", "method=local", "scenario=common", "scenario.sites=[ixi]", "trainer.rounds=2", "trainer.local_steps=1"]
RUN += ["trainer.device=cpu", "network.width=4", "network.blocks=1", "dataset.size=32", "dataset.slices=1"]
RUN += ["dataset.train=1", "dataset.val=1", "dataset.test=1"]


class Seen(Tracker):
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.calls: list[Rows] = []
        self.scored: list[tuple[Rows, int]] = []
        self.closed = 0

    def rounds(self, rows: Rows) -> None:
        self.calls.append(rows)

    def scores(self, rows: Rows, selected_round: int) -> None:
        self.scored.append((rows, selected_round))

    def close(self) -> None:
        self.closed += 1

    @property
    def places(self) -> list[tuple[int, str]]:
        return [(row["round"], row["site"]) for call in self.calls for row in call]


class Stopped(Exception):
    """The process is gone."""


def trainer(folder: Path, progress: Any) -> Trainer:
    sites = federation(("brats", "ixi"))
    return Trainer(Method(), resnet(), sites, options(rounds=3, local_steps=1), 0, folder, progress)


ALL = [(round, site) for round in (1, 2, 3) for site in ("brats", "ixi")]


def test_a_tracker_sees_every_round_once_and_soon(tmp_path: Path) -> None:
    seen, shown = Seen(), list[tuple[int, str]]()
    of = trainer(tmp_path, lambda round, rounds, site, loss: shown.append((round, site)))
    with followed(of, seen):
        outcome = of.run()
    assert shown == ALL  # the progress goes on
    assert seen.places == ALL
    assert [len(call) for call in seen.calls] == [2, 2, 2]
    assert [row for call in seen.calls for row in call] == outcome.curve
    assert set(seen.calls[0][0]) == set(CURVE)
    assert seen.closed == 1


def test_after_an_interruption_it_sees_all_rounds_again(tmp_path: Path) -> None:
    def stop(round: int, rounds: int, site: str, loss: float) -> None:
        if round == 3:
            raise Stopped

    first, second = Seen(), Seen()
    of = trainer(tmp_path, stop)
    with pytest.raises(Stopped), followed(of, first):
        of.run()
    assert first.places == ALL[:4]
    assert first.closed == 1
    of = trainer(tmp_path, lambda *_: None)
    with followed(of, second):
        of.run()
    assert second.places == ALL


def test_a_run_has_a_tracker_that_changes_neither_its_name_nor_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr("fedsynth.benchmarks.config.schema.find_spec", lambda name: name == "tensorboard")
    monkeypatch.setattr(
        "fedsynth.benchmarks.running.training.execute.tracker",
        lambda *given: seen if given[0] is Tracking.tensorboard else Tracker(),
    )
    for folder, more in (("with", ["tracker=tensorboard"]), ("without", [])):
        assert main([*RUN, *more, "--results", str(tmp_path / folder)]) == 0
    stores = [Store(tmp_path / name) for name in ("with", "without")]
    assert stores[0].names() == stores[1].names()
    (run,) = stores[0].names()
    scores = [read_scores(store.folder(run)) for store in stores]
    assert repr(scores[0]) == repr(scores[1])  # NaN is NaN
    ((rows, selected),) = seen.scored
    assert [row["psnr"] for row in rows] == pytest.approx([row["psnr"] for row in scores[0]], rel=1e-8, abs=0)
    assert selected == Store(tmp_path / "with").record(run).selected_round
    assert seen.places == [(row["round"], row["site"]) for row in read_curve(stores[0].folder(run))]


def test_a_tracker_that_is_not_installed_is_said_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fedsynth.benchmarks.config.schema.find_spec", lambda name: None)
    assert main([*RUN, "tracker=tensorboard", "--results", str(tmp_path)]) == 2
    assert "not installed: pip install 'fedsynth[tensorboard]'" in capsys.readouterr().err
    assert not Store(tmp_path).names()
    check_installed(Tracking.none)


def test_none_looks_at_nothing(tmp_path: Path) -> None:
    assert type(tracker(Tracking.none, tmp_path, "run", {})) is Tracker
    assert not list(tmp_path.iterdir())


def test_tensorboard_has_every_number_of_the_curve_and_the_test_scores(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    what = finished.identity()
    curve, scores = finished.curve(what), finished.scores(what)
    curve[0]["val_psnr"] = math.nan
    for number, row in enumerate(row for row in scores if row["site"] == "ixi"):
        row["lesion_contrast"] = math.nan if number else 0.2  # one subject has a lesion
    for _ in range(2):  # the second time in place of the first
        board = tracker(Tracking.tensorboard, tmp_path, "fedavg-s0", what)
        board.rounds(curve[:2])
        board.rounds(curve[2:])
        board.scores(scores, selected_round=2)
        board.close()
    seen = events.EventAccumulator(str(tmp_path / "tensorboard" / "fedavg-s0"))
    seen.Reload()

    def points(tag: str) -> list[tuple[int, float]]:
        return [(point.step, pytest.approx(point.value)) for point in seen.Scalars(tag)]

    sites = ("ixi", "oasis")
    cells = ("ixi_T1-T2", "oasis_T1-T2", "oasis_T2-FLAIR")
    columns = {f"{column}/{site}" for column in CURVE[2:] for site in sites}
    assert columns <= set(seen.Tags()["scalars"])
    assert {f"test_psnr/{cell}" for cell in cells} <= set(seen.Tags()["scalars"])
    assert points("loss_generator/ixi") == [(1, 1.0), (2, 1.0)]
    assert points("val_psnr/ixi") == [(2, 20.0)]
    assert points("test_psnr/oasis_T2-FLAIR") == [(2, 20.0)]
    assert points("test_lesion_contrast/ixi_T1-T2") == [(2, 0.2)]
    assert seen.Tags()["tensors"] == ["identity/text_summary"]
