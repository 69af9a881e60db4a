"""`fedsynth run`: what trains and what does not, what is said, and the state that the store is left in."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.federations import federation
from support.stores import TINY

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.compose import composed
from fedsynth.benchmarks.records.store import State, Store
from fedsynth.benchmarks.running import run as run_verb
from fedsynth.benchmarks.running.training import estimate, execute as run_module
from fedsynth.benchmarks.running.training.execute import Ending, measured_data
from fedsynth.evaluation import references
from fedsynth.federation import FederationError
from fedsynth.federation.scenario import with_few
from fedsynth.registry import DATASETS
from fedsynth.trainer import Outcome, Trainer

Command = Callable[..., int]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`fedsynth run` in this process, with runs of a second, in a store of its own."""
    monkeypatch.setattr("sys.argv", [])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> int:
        return main(["run", *TINY, "--results", str(tmp_path), *arguments])

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that were trained, in order."""
    names: list[str] = []
    train = Trainer.run

    def noted(self: Trainer) -> Outcome:
        names.append(type(self.method).__name__)
        return train(self)

    monkeypatch.setattr(Trainer, "run", noted)
    return names


def scores(results: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in results.glob("runs/*/scores.csv")}


def states(results: Path) -> list[State]:
    store = Store(results)
    return [store.status(name).state for name in store.names()]


def test_a_finished_sweep_is_not_trained_again(
    command: Command, trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("-m", "method=local,fedavg") == 0
    finished = scores(tmp_path)
    assert len(finished) == len(trained) == 2
    monkeypatch.setattr(DATASETS["phantom"], "load", lambda *_: pytest.fail("data were loaded for a finished run"))
    assert command("-m", "method=fedavg,local") == 0
    assert len(trained) == 2
    assert scores(tmp_path) == finished
    for name in finished:  # nothing of its way is left
        kept = {path.name for path in (tmp_path / "runs" / name).iterdir()}
        assert kept == {
            *("record.json", "scores.csv", "curve.csv", "gallery.npz", "model.safetensors"),
            *("identity.json", "lock"),
        }


@pytest.mark.parametrize(
    "words", [[], ["network=resnet", "network.blocks=9"], ["method=silobn", "optimizer.betas=[0.9,0.99]"]]
)
def test_what_is_shown_is_what_trains(
    words: list[str],
    command: Command,
    trained: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--cfg job` has every option of the identity of the run, with its value; experiment=smoke makes the networks smaller."""
    monkeypatch.setattr(
        run_module, "execute", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )  # it has its identity
    words = ["+where_present.network={blocks: 2, latent: 8}", *words]
    assert command("--cfg", "job", *words) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (states(tmp_path), trained) == ([], [])
    assert command(*words) == 130
    (name,) = Store(tmp_path).names()
    what = Store(tmp_path).identity(name)
    assert shown["network"]["blocks"] == (9 if "network.blocks=9" in words else 2)
    for part in ("method", "network", "dataset", "trainer", "optimizer", "schedule"):
        own = {option: value for option, value in what[part].items() if option not in ("name", "device", "execution")}
        assert own == {option: shown[part][option] for option in own}
    assert (shown["seed"], shown["scenario"]["name"]) == (what["seed"], what["scenario"]["name"])


def test_how_long_it_takes_is_said_from_its_first_steps_and_then_from_runs_like_it(
    command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "ENOUGH", 0.0)
    monkeypatch.setattr(run_module, "SHORT", 0.0)
    assert command("-m", "method=local,fedavg", "trainer.local_steps=5") == 0
    first, second = (line for line in capfd.readouterr().err.splitlines() if "about" in line)
    told = r"-common-s0-\w+: 1 round of 5 local steps at each of 2 sites: about \d+ s on this CPU, from its first 3 local steps"
    assert re.fullmatch(rf"local{told}; the whole command about \d+ s, one run after another", first)
    assert re.fullmatch(rf"fedavg{told}", second)
    assert command("method=fedavg", "trainer.local_steps=5", "seed=1") == 0
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "about" in line)
    assert re.fullmatch(r"fedavg-common-s1-\w+: about \d+ s, as runs like that took here", line)


@pytest.mark.parametrize("method", ["fedavg", "pooled"])
def test_where_half_of_the_sites_take_part_the_forecast_is_half(
    method: str, command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    what = {"trainer": {"rounds": 4, "local_steps": 5, "participation": 0.5}, "scenario": {"tasks": {"a": 1, "b": 1}}}
    assert estimate.local_steps(what) == 20
    monkeypatch.setattr(estimate, "ENOUGH", 0.0)
    monkeypatch.setattr(run_module, "SHORT", 0.0)
    assert command(f"method={method}", "trainer.local_steps=5", "trainer.participation=0.5") == 0
    said = capfd.readouterr().err
    assert ("of 5 local steps at 1 of 2 sites" if method == "fedavg" else "of 5 local steps at one site") in said


def test_without_a_terminal_progress_is_lines(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedsynth.runtime.progress.SECONDS", 0.0)
    assert command("trainer.rounds=2") == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if " loss " in line]
    (name,) = Store(tmp_path).names()
    seen = [re.fullmatch(rf"{name}: ([\d.]+) of 2 rounds, [\d:?]+ left, (\w+) loss [\d.e+]+", line) for line in lines]
    assert [match and match.groups() for match in seen] == [
        ("0.5", "ixi"),
        ("1", "oasis"),
        ("1.5", "ixi"),
        ("2", "oasis"),
    ]


def test_another_method_in_the_sweep_changes_no_number(command: Command, tmp_path: Path) -> None:
    assert command("method=fedavg", "--results", str(tmp_path / "alone")) == 0
    shutil.copytree(tmp_path / "alone" / "cache", tmp_path / "joined" / "cache")
    assert command("-m", "method=local,fedavg", "--results", str(tmp_path / "joined")) == 0
    (alone,), joined = Store(tmp_path / "alone").names(), Store(tmp_path / "joined")
    assert scores(tmp_path / "joined")[alone] == scores(tmp_path / "alone")[alone]
    records = [store.record(alone) for store in (joined, Store(tmp_path / "alone"))]
    assert records[0]
    assert records[1]
    assert records[0].digest == records[1].digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["method=fedavgg"], "no method 'fedavgg'; the nearest: fedavg"),
        (["network=resnett"], "no network 'resnett'; the nearest: resnet"),
        (["scenario=comon"], "no scenario 'comon'; the nearest: common"),
        (["-m", "method=local,fedavgg"], "no method 'fedavgg'; the nearest: fedavg"),
        (["metod=fedavg"], "metod: a run has no option 'metod'; the nearest: method"),
        (["method.l11=3"], "method.l11: FedAvg has no option 'l11'; the nearest: l1"),
        (["trainer.round=3"], "trainer.round: TrainerOptions has no option 'round'; the nearest: rounds"),
        (["scenario.sits=[ixi]"], "scenario.sits: Scenario has no option 'sits'; the nearest: sites"),
        (["+foo=1"], "foo"),
        (["+trainer.foo=1"], "trainer.foo|'foo'"),
        (["trainer.rounds=many"], "'many' of type 'str' could not be converted to Integer"),
        (["optimizer=adamm"], "no optimizer 'adamm'; the nearest: adam, adamw"),
        (["trainer.optimizer=sgd"], "trainer.optimizer=sgd: it is chosen by optimizer=sgd"),
        (["optimizer.momentum=0.9"], "optimizer.momentum: Adam has no option 'momentum'; it has: betas"),
        (["optimizer=sgd", "optimizer.momentum=1"], "optimizer.momentum is 1.0; it must be a number from 0 to below 1"),
        (["trainer.rounds=0"], "trainer.rounds is 0; it must be at least 1"),
        (["scenario.tasks.default=[T1->T2]"], "cannot read .* needs quotes"),
        (["method=local,fedavg"], "add --multirun"),
        (["scenario.sites=[ixi,oasys]"], "no site 'oasys'; the data set has brats, ixi, midas, oasis"),
        (["scenario.tasks.default=['T1->PD']"], "task T1->PD needs PD, which site 'oasis' lacks"),
        (["-m", "scenario.sites=[ixi],[ixi,oasys]"], "no site 'oasys'"),
        (["scenario.name='<b>'"], "scenario.name '<b>' has a '<'; give it another name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_be_run_is_answered_once_and_trains_nothing(
    command: Command,
    trained: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert command(*arguments) == 2
    said = capfd.readouterr()
    assert re.search(message, said.err)
    assert said.err.count("fedsynth: ") == 1
    assert "Traceback" not in said.err + said.out
    assert (trained, states(tmp_path)) == ([], [])


def test_a_failing_run_is_reported_and_the_others_go_on(
    command: Command,
    trained: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = DATASETS["phantom"].load
    monkeypatch.setattr(DATASETS["phantom"], "load", lambda self, site, cache: broken(site) or load(self, site, cache))

    def broken(site: str) -> None:
        if site == "ixi":
            raise FederationError("ixi/p1/T1.nii.gz: the file is cut short")

    assert command("-m", "scenario.sites=[ixi],[oasis]") == 1
    said = capfd.readouterr().err
    assert "ixi/p1/T1.nii.gz: the file is cut short" in said
    assert "2 runs: 1 d" in said  # done, or diverged after a single step
    assert "Traceback" not in said
    assert trained == ["FedAvg"]
    assert State.failed in states(tmp_path)
    (note,) = tmp_path.glob("runs/*/attempt-1.txt")
    assert "FederationError" in note.read_text().splitlines()[-1]

    monkeypatch.setattr(DATASETS["phantom"], "load", load)
    assert command("-m", "scenario.sites=[ixi],[oasis]") == 0
    assert len(trained) == 2
    assert State.failed not in states(tmp_path)


def test_what_cannot_be_measured_of_the_data_fails_before_anything_trains(
    command: Command,
    trained: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A damaged cache of measurements failed the run after all of its training."""
    monkeypatch.setattr(run_module, "measured_data", lambda *_: (_ for _ in ()).throw(ValueError("no slice of T2")))
    assert command() == 1
    assert "ValueError: no slice of T2" in capfd.readouterr().err
    assert (trained, states(tmp_path)) == ([], [State.failed])


def test_a_run_that_another_process_works_on_is_left_to_it(
    command: Command,
    trained: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_module, "execute", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert command() == 130
    (name,) = Store(tmp_path).names()
    with Store(tmp_path).claim(name) as mine:
        assert mine
        assert command() == os.EX_TEMPFAIL  # a scheduler would take 0 for done, and nobody would come back
    assert trained == []
    assert "another process works on it" in capfd.readouterr().err


def test_the_job_of_a_launcher_waits_for_a_run_that_another_process_works_on(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler begins a job again whose process may live on; should that one die, the job is there to go on."""
    endings = iter([Ending(State.running, "elsewhere"), Ending(State.running, "elsewhere"), Ending(State.done, "done")])
    monkeypatch.setattr(run_verb, "settle", lambda *_: next(endings))
    monkeypatch.setattr(run_verb, "REFRESH", 0.0)
    monkeypatch.setattr(run_verb, "launcher", lambda words: "JoblibLauncher")
    monkeypatch.setattr(run_verb, "launch", lambda words, job: job(composed([*TINY])))
    command("-m", "method=fedavg")
    assert not [*endings]


def test_a_run_that_a_launcher_loses_is_a_line_and_the_others_are_counted(
    command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class UncompletedJobError(RuntimeError):
        """As submitit raises for a job that was killed; joblib's error is a RuntimeError too."""

    def lose(words: object, job: object) -> None:
        raise UncompletedJobError("Job 17 (task: 0) has not produced any output (state: FAILED)\nNo output stream")

    monkeypatch.setattr(run_verb, "launcher", lambda words: "JoblibLauncher")
    monkeypatch.setattr(run_verb, "launch", lose)
    assert command("-m", "method=local,fedavg") == 1
    said = capfd.readouterr().err
    assert "the launcher lost a run (Job 17 (task: 0) has not produced any output (state: FAILED)); the same" in said
    assert "2 runs: 2 half-finished" in said
    assert "Traceback" not in said


def test_an_error_that_is_no_launcher_s_is_no_lost_run(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: object, job: object) -> None:
        raise RuntimeError("no event loop")

    monkeypatch.setattr(run_verb, "launcher", lambda words: "JoblibLauncher")
    monkeypatch.setattr(run_verb, "launch", fail)
    with pytest.raises(RuntimeError, match="no event loop"):
        command("-m", "method=local")


def test_a_slurm_without_accounting_hides_killed_jobs_from_submitit_and_that_is_said(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sacct").write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(run_verb, "launcher", lambda words: "SlurmLauncher")
    monkeypatch.setattr(run_verb, "launch", lambda words, job: None)
    command("-m", "method=fedavg")
    assert "this SLURM keeps no accounting (Slurm accounting storage is disabled), so" in capfd.readouterr().err
    (tmp_path / "sacct").write_text("#!/bin/sh\n")
    command("-m", "method=fedavg")
    assert "accounting" not in capfd.readouterr().err


@pytest.mark.parametrize("by_signal", [True, False])
def test_a_signal_s_exit_is_an_interruption_and_a_method_s_exit_a_failure(
    by_signal: bool, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit's handler of SIGUSR2 has the scheduler begin the job again, and exits."""

    class Handlers:
        def preempt(self, number: int, frame: object) -> None:
            sys.exit(-1)

    before = signal.signal(signal.SIGUSR2, Handlers().preempt)
    end = (lambda: signal.raise_signal(signal.SIGUSR2)) if by_signal else (lambda: sys.exit(-1))
    monkeypatch.setattr(Trainer, "run", lambda self: end())
    try:
        with pytest.raises(SystemExit) if by_signal else nullcontext():
            assert command() == 1
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert states(tmp_path) == [State.unfinished if by_signal else State.failed]


def test_a_damaged_record_is_set_aside_and_made_again(
    command: Command, trained: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    before = scores(tmp_path)
    (name,) = before
    (tmp_path / "runs" / name / "scores.csv").write_text("nothing")
    assert states(tmp_path) == [State.damaged]
    capfd.readouterr()
    assert command() == 0
    assert (scores(tmp_path), len(trained)) == (before, 2)
    assert (tmp_path / "damaged" / f"{name}-1" / "scores.csv").read_text() == "nothing"
    assert f"now in {tmp_path / 'damaged' / name}-1" in capfd.readouterr().err


def test_a_damaged_checkpoint_is_set_aside_and_the_run_made_anew(
    command: Command,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert command() == 0
    (name,), whole = scores(tmp_path), scores(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_outcome", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command() == 130
    path = tmp_path / "runs" / name / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # one bit of a weight
    path.write_bytes(content)
    capfd.readouterr()
    assert command() == 0
    assert scores(tmp_path) == whole
    aside = tmp_path / "damaged" / f"{name}-1"
    assert (aside / "checkpoint.safetensors").read_bytes() == content
    assert f"{path} is damaged: it does not hold what was written: what there was of the run is now in {aside}" in (
        capfd.readouterr().err
    )


def test_an_interrupted_run_goes_on_with_the_same_command(
    command: Command,
    trained: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command("-m", "method=local,fedavg") == 130
    said = capfd.readouterr().err
    assert "interrupted; the same command goes on" in said
    assert "Traceback" not in said
    assert states(tmp_path) == [State.unfinished]
    assert command("-m", "method=local,fedavg") == 0
    assert trained == ["Local", "FedAvg"]
    assert set(states(tmp_path)) <= {State.done, State.diverged}


# What a run records of its data is measured once for the same data and scenario, and not by every run of a sweep.
TWO: dict[str, Any] = {"data": {"ixi": "a", "oasis": "b"}, "scenario": {"name": "two", "train_subjects": {}}}


def test_every_slice_is_read_once_for_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, calls = federation(("ixi",)), []
    measure = references.measured_lines
    monkeypatch.setattr(references, "measured_lines", lambda of: calls.append(1) or measure(of))
    first, again = (measured_data(given, TWO, tmp_path) for _ in range(2))
    assert first == again
    assert len(calls) == 1
    measured_data(given, TWO | {"data": {"ixi": "c", "oasis": "b"}}, tmp_path)
    assert len(calls) == 2


def test_a_damaged_measurement_is_made_again(tmp_path: Path) -> None:
    """A file that was cut failed the run, after its whole training; a changed digit went into the record."""
    first = measured_data(federation(("ixi",)), TWO, tmp_path)
    (path,) = tmp_path.glob("measured-*.json")
    whole = path.read_bytes()
    for damaged in (whole[:40], b"", whole.replace(b"copy_source", b"copy_sourde", 1), b"[]"):
        path.write_bytes(damaged)
        assert measured_data(federation(("ixi",)), TWO, tmp_path) == first
        assert path.read_bytes() == whole


def test_the_floors_of_fewer_training_subjects_are_their_own(tmp_path: Path) -> None:
    """They were those of whichever run came first, so that every number of subjects had the same."""
    whole = federation(("ixi",))
    few = replace(whole, sites={"ixi": with_few(whole.sites["ixi"], 1)})
    scarce = TWO | {"scenario": {"name": "two", "train_subjects": {"ixi": 1}}}
    found = [measured_data(whole, TWO, tmp_path), measured_data(few, scarce, tmp_path)]
    assert found[0]["heterogeneity"][0]["own_table"] != found[1]["heterogeneity"][0]["own_table"]
    assert found[0]["heterogeneity"][0]["copy_source"] == found[1]["heterogeneity"][0]["copy_source"]
