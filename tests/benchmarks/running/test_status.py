"""`fedsynth status`: every state in a line that says how far and why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.record import write_record
from fedsynth.benchmarks.records.store import State, Store
from fedsynth.benchmarks.running import status as status_module
from fedsynth.benchmarks.running.status import state_matrix


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


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "PBS_JOBID"])
def test_a_running_run_is_shown_with_the_job_that_has_it(
    variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr("socket.gethostname", lambda: "n1")
    begun(store, "before", 2)
    monkeypatch.setenv(variable, "4711")
    begun(store, "half", 3)
    with store.claim(begun(store, "running", 7)):
        assert main(["status", "--results", str(tmp_path)]) == 0
    told = lines(capsys.readouterr().out)
    assert told == {
        "before": "half-finished in round 2 of 16",
        "half": "half-finished in round 3 of 16",
        "running": "running in round 7 of 16, job 4711 on n1",
    }


def test_every_state_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    finished.finish(store, finished.identity(method={"name": "done"}))
    what = finished.identity(method={"name": "diverged"})
    finished.finish(store, what, status="diverged", reason="the loss at site ixi is not finite in round 2")
    damaged = finished.finish(store, finished.identity(method={"name": "damaged"}))
    (store.folder(damaged) / "record.json").write_text("{}")
    begun(store, "half", 3)
    begun(store, "early", 0)
    note = store.fail(begun(store, "failed", 2), OSError("disk is full\nreally"))
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
        "failed": f"failed in round 2 of 16: OSError: disk is full; the traceback is in {note}",
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


def test_many_runs_are_a_matrix_and_lines_of_those_that_are_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for method in ("fedavg", "local", "pflsynth"):
        for seed in range(7):
            finished.finish(store, finished.identity(method={"name": method}, seed=seed))
    begun(store, "half", 3)
    assert main(["status", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split() for line in shown[:5]] == [
        *(["variable"], ["fedavg", "ddddddd"], ["half", "h"], ["local", "ddddddd"], ["pflsynth", "ddddddd"]),
    ]
    assert [line for line in shown if "-s0-" in line] == [
        f"{store.names(['half-*'])[0]}  half-finished  in round 3 of 16"
    ]
    assert "21 done, 1 half-finished" in shown


def test_an_experiment_s_cells_are_shown_that_nobody_has_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment=smoke", "method=local,fedavg", "seed=0,1"]
    assert main(["status", *words, "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()[1:3]] == [["fedavg", ".."], ["local", ".."]]
    assert "4 not begun" in shown
    assert (
        f"`fedsynth sweep experiment=smoke method=local,fedavg seed=0,1 --results {tmp_path}` trains what is missing"
        in shown
    )
    assert not tmp_path.joinpath("runs").exists()
    assert main(["status", *words, "engine=site.py", "--results", str(tmp_path)]) == 0  # the words of the sweep itself
    assert "seed=0,1 engine=site.py --results" in capsys.readouterr().out
    assert main(["status", "experiment=smok", "--results", str(tmp_path)]) == 2
    assert "no experiment 'smok'; the nearest: smoke" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_watching_ends_when_all_are_finished(
    terminal: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs, one of which is finished while nobody changes the other; where there is no terminal it says what changes."""
    store, naps = Store(tmp_path), iter(range(3))
    finished.finish(store, finished.identity(method={"name": "local"}))
    run = begun(store, "fedavg", 3)
    what = store.asked(run)

    def work(seconds: float) -> None:
        assert seconds == status_module.SECONDS
        nap = next(naps)
        if nap == 1:
            store.note(run, 4, 16)
        elif nap == 2:
            write_record(store.folder(run), finished.record(what), finished.scores(what), finished.curve(what))

    monkeypatch.setattr(status_module.time, "sleep", work)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    with store.claim(run):
        assert main(["status", "--watch", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    if terminal:
        assert out.count(status_module.CLEAR) == 4
        assert f"{run} running in round 4 of 16" in " ".join(out.split())
        assert out.endswith("2 done\n")
    else:
        assert [line.partition(" ")[2] for line in out.splitlines()] == [
            f"1 done, 1 running; {run} in round 3 of 16",
            f"1 done, 1 running; {run} in round 4 of 16",
            "2 done",
        ]


def test_watching_waits_for_the_first_run_and_may_be_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status_module.time, "sleep", interrupt)
    assert main(["status", "--watch", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(" no run yet\n")


def test_rows_tell_what_varies_and_columns_fit_the_terminal() -> None:
    """By hand: most have share=late, which is not told; of two runs at one place the one that is left to do counts."""
    options = [{}, {}, {}, {"share": "all"}]
    runs = [
        (finished.identity(method={"name": "pflsynth", "share": "late", **own}, seed=seed), state)
        for own, seed, state in zip(
            options, (0, 1, 2, 0), (State.done, State.failed, None, State.diverged), strict=True
        )
    ]
    runs.append((finished.identity(method={"name": "local"}, scenario={"name": "common"}), State.running))
    runs.append((finished.identity(method={"name": "local"}, scenario={"name": "common"}), State.done))
    assert state_matrix(runs, 80)[:4] == [
        "                    common  variable",
        "local               r",
        "pflsynth                    dF.",
        "pflsynth share=all          v",
    ]
    narrow = state_matrix(runs, 30)
    assert narrow[:2] == ["                    common", "local               r"]
    assert narrow[3] == "                    variable"


def test_looking_at_a_store_imports_no_torch(tmp_path: Path) -> None:
    look = f"main(['status', '--results', {str(tmp_path)!r}])"
    code = f"import sys; from fedsynth.benchmarks.cli import main; {look}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
