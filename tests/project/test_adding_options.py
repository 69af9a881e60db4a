"""The pages on adding a scenario and an experiment do what they say: their files are found in ./conf, and their commands run.

The commands run in this process, which has torch already, without the seconds that a new process takes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from support.docs import DocPage

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.compose import composed
from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.config.grid import cells
from fedsynth.benchmarks.config.schema import Run, register
from fedsynth.benchmarks.records.store import State, Store
from fedsynth.benchmarks.running.training.execute import Ending

SCENARIO, EXPERIMENT = DocPage("adding-a-scenario"), DocPage("experiments")


def run_commands(script: str) -> None:
    """Run the `fedsynth` commands of a script, one a line; every one must succeed."""
    for line in script.splitlines():
        program, *words = shlex.split(line)
        assert program == "fedsynth"
        assert main(words) == 0, line


class InProcess(Executor):
    """A sweep's engine whose cells are trained here, one after another."""

    def submit(self, function: Callable[[bytes], Ending], packed: bytes) -> Future[Ending]:
        future = Future[Ending]()
        future.set_result(function(packed))
        return future


@pytest.mark.slow
def test_the_commands_of_a_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDSYNTH_CONF", raising=False)
    (tmp_path / "conf" / "scenario").mkdir(parents=True)
    (tmp_path / "conf" / "scenario" / "small_partner.yaml").write_text(SCENARIO.block("yaml"))
    run_commands(SCENARIO.commands())
    said = capsys.readouterr().out
    assert "What does a site with two subjects gain from three large ones that have its task?" in said
    assert "small_partner on phantom" in said
    store = Store(tmp_path / "results")
    found = [store.identity(name) for name in store.names()]
    assert [(what["method"]["name"], what["scenario"]["train_subjects"]) for what in found] == [
        ("fedbn", {"oasis": 2}),
        ("local", {"oasis": 2}),
    ]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's file, in which one stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDSYNTH_CONF", raising=False)
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "local_steps.yaml").write_text(EXPERIMENT.block("yaml"))
    register()
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_an_experiment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fedsynth.benchmarks.running.engine.Engine.start", lambda *given: InProcess())
    run_commands(EXPERIMENT.commands())
    said = capsys.readouterr()
    assert "local_steps" in said.out
    assert "Does FedBN need other local steps than FedAvg?" in said.out
    assert "6 cells, all checked: 6 not begun" in said.err
    store = Store(folder / "results")
    assert {store.status(name).state for name in store.names()} <= {State.done, State.diverged}
    assert sorted(name.partition("-")[0] for name in store.names()) == [
        "fedavg",
        "fedavg",
        "fedbn",
        "fedbn",
        "fedprox",
        "fedprox",
    ]


@pytest.mark.usefixtures("folder")
def test_options_count_in_the_order_that_the_page_says(folder: Path) -> None:
    def blocks(*words: str) -> int:
        return Run.of(composed(["experiment=local_steps", *words])).network.blocks

    assert blocks() == 1
    assert blocks("network.blocks=9") == 9  # the default of the class
    assert Run.of(composed(["experiment=local_steps", "network=unet"])).network.pools == 2
    with pytest.raises(OptionError, match=r"there is no tuned/mine.yaml"):
        cells(["experiment=local_steps", "method=fedprox"])
    tuned = folder / "conf" / "tuned" / "mine.yaml"
    tuned.parent.mkdir()
    tuned.write_text("fedprox: [trainer.lr=0.5, method.mu=1]\n")
    found = cells(["experiment=local_steps", "method=fedprox"])
    assert [(cell.run.trainer.lr, cell.identity["method"]["mu"]) for cell in found] == [(0.5, 0.01), (0.5, 0.1)]
    (changed,) = cells(["experiment=local_steps", "method=fedprox", "method.mu=2", "trainer.lr=0.1"])
    assert (changed.run.trainer.lr, changed.identity["method"]["mu"]) == (0.1, 2)
