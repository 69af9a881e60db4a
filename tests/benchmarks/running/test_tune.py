"""Tuning on equal terms: the policy of the draws, validation as the only judge, trials as records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from support import finished
from support.stores import TINY

from fedsynth import streams
from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.grid import Cell, cells
from fedsynth.benchmarks.config.schema import register
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.running import tune
from fedsynth.benchmarks.running.sweep import Sweep
from fedsynth.registry import METHODS

register()


def drawn(default: object, count: int = 300) -> list[float]:
    return [tune.draw_value(default, streams.host("test", number)) for number in range(count)]


def test_positive_numbers_are_drawn_log_uniformly_around_their_default() -> None:
    logs = np.log10(drawn(0.02)) - np.log10(0.02)
    assert -1 <= logs.min() < -0.9
    assert 0.9 < logs.max() <= 1
    assert abs(np.mean(logs < 0) - 0.5) < 0.1


def test_a_zero_becomes_a_share_a_count_is_halved_or_doubled_and_choices_stay() -> None:
    zeros = drawn(0.0)
    assert 0 <= min(zeros) < 0.1
    assert 0.9 < max(zeros) <= 1
    assert set(drawn(4)) == {2, 4, 8}
    assert set(drawn(1)) == {1, 2}
    assert set(drawn(True)) == set(drawn("x")) == set(drawn(0)) == {None}


@pytest.mark.parametrize("name", METHODS.entries())
def test_every_method_draws_a_learning_rate_and_only_its_own_options(name: str) -> None:
    trials = [tune.draw_options(METHODS[name], name, 1e-3, number) for number in range(1, 6)]
    assert trials == [tune.draw_options(METHODS[name], name, 1e-3, number) for number in range(1, 6)]
    assert len({tuple(trial) for trial in trials}) == 5
    for rate, *own in trials:
        assert 1e-4 <= float(rate.removeprefix("trainer.lr=")) <= 1e-2
        assert not any(option.startswith(("method.l1=", "method.adversarial=")) for option in own)
        METHODS[name](**{option.removeprefix("method.").partition("=")[0]: number(option) for option in own})


def number(option: str) -> float | int:
    text = option.partition("=")[2]
    return int(text) if text.isdigit() else float(text)


def test_trials_are_kept_and_the_default_and_the_best_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tune", "fedavg", *TINY, "trainer.rounds=2", "--results", str(tmp_path), "--trials", "2"]
    assert main(command) == 0
    first = capsys.readouterr()
    records, damaged = Store(tmp_path / "tuning").records()
    assert damaged == []
    short, whole = (
        {
            own["lr"]: record.validation_psnr
            for record in records
            if (own := record.identity["trainer"])["rounds"] == rounds
        }
        for rounds in (1, 2)
    )
    early = max(short, key=lambda lr: (short[lr], lr == 3e-3))
    assert (len(short), {*whole}) == (2, {3e-3, early})  # the better half of two, and the default
    best = max(whole, key=lambda lr: (whole[lr], lr == 3e-3))
    shown, _ = Store(tmp_path).records()
    assert {record.identity["trainer"]["lr"] for record in shown} == {3e-3, best}
    assert first.out.splitlines()[0] == "fedavg: 2 of 2 trials finished"
    assert f"lr={best:g}" in first.out.splitlines()[1]
    assert "(default)" in first.out
    assert not [line for line in first.out.splitlines() if line != line.rstrip()]
    assert main(command) == 0
    again = capsys.readouterr()
    assert "to train" not in again.err
    assert again.out == first.out


@pytest.mark.slow
def test_the_best_options_are_written_for_grids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: of five trials two go on, with the default; the second of one method overtakes its fourth, and the default of
    another is its best."""
    early = {"fedavg": [20.0, 21.5, 19.0, 21.9, 18.0], "fedprox": [19.0, 19.5, 19.4, 18.0, 17.0]}
    last = {"fedavg": [20.5, 22.5, 22.0], "fedprox": [21.0, 20.5, 20.0]}
    told = iter([early, last, early, last])
    monkeypatch.setattr(Sweep, "run", lambda self: finish(self.cells, next(told)))
    monkeypatch.chdir(tmp_path)
    command = ["tune", "fedavg", "fedprox", *TINY, "trainer.rounds=8", "--trials", "5", "--write", "mine"]
    assert main(command) == 0
    file = tmp_path / "conf" / "tuned" / "mine.yaml"
    written = yaml.safe_load(file.read_text())
    drawn = tune.draw_options(METHODS["fedavg"], "fedavg", 3e-3, 1)
    how = written.pop("tuning")
    assert written == {"fedavg": drawn, "fedprox": []}
    assert "# fedavg, 5 trials; default: 20.50 dB, best: 22.50 dB" in file.read_text()
    cell = next(cell for cell in cells([*TINY, "trainer.rounds=8", "tuned=mine", "method=fedavg"]))
    assert f"trainer.lr={cell.run.trainer.lr:.3g}" == drawn[0]
    assert cell.tuning == {"file": "mine", "options": drawn} | how
    assert (how["trials"], how["seed"], how["cohort"], how["data"]) == (5, 0, None, cell.identity["data"])
    assert (how["first_rounds"], how["rounds"]) == (2, 8)
    before = file.read_bytes()
    assert main([*command[:-1], "best.yaml"]) == 0
    assert (tmp_path / "best.yaml").read_bytes() == before.replace(b"--write mine", b"--write best.yaml")


def finish(planned: Sequence[Cell], scores: dict[str, list[float]]) -> None:
    """Records of trials that nobody trained, with these validation scores in the order of the trials."""
    left = {method: iter(own) for method, own in scores.items()}
    for cell in planned:
        score = next(left[cell.identity["method"]["name"]])
        finished.finish(Store(Path(cell.run.results)), cell.identity, validation_psnr=score)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["fedavg", "trainer.lrr=1"], "lrr"),
        (["fedavg", "scenario.sites=[ixi,nowhere]"], "no site 'nowhere'"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_trains(
    command: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *command, "--results", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "tuning").exists()


def test_trials_take_an_engine_as_cells_of_a_sweep_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, "fedavg", "--results", str(tmp_path), f"engine={tmp_path / 'site.py'}"]
    assert main(["tune", *words]) == 2
    assert f"there is no file {tmp_path / 'site.py'}" in capsys.readouterr().err
