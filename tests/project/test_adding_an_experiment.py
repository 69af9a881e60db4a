"""docs/experiments.md does what it says: its file is an experiment, its commands run, and what it says of grids holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.docs import DocPage
from support.in_process import InProcessPool, run_commands

from fedsynth.benchmarks.config.compose import composed
from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.config.grid import cells
from fedsynth.benchmarks.config.schema import Run, register
from fedsynth.benchmarks.records.store import State, Store

PAGE = DocPage("experiments")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's file, in which one stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDSYNTH_CONF", raising=False)
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "local_steps.yaml").write_text(PAGE.block("yaml"))
    register()
    return tmp_path


@pytest.mark.slow
def test_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("fedsynth.benchmarks.running.sweep.ProcessPool", InProcessPool)
    run_commands(PAGE.commands())
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
