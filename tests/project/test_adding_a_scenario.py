"""docs/adding-a-scenario.md does what it says: its file is a scenario, and its commands run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.docs import DocPage
from support.in_process import run_commands

from fedsynth.benchmarks.records.store import Store

PAGE = DocPage("adding-a-scenario")


@pytest.mark.slow
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDSYNTH_CONF", raising=False)
    (tmp_path / "conf" / "scenario").mkdir(parents=True)
    (tmp_path / "conf" / "scenario" / "small_partner.yaml").write_text(PAGE.block("yaml"))
    run_commands(PAGE.commands())
    said = capsys.readouterr().out
    assert "What does a site with two subjects gain from three large ones that have its task?" in said
    assert "small_partner on phantom" in said
    store = Store(tmp_path / "results")
    found = [store.identity(name) for name in store.names()]
    assert [(what["method"]["name"], what["scenario"]["train_subjects"]) for what in found] == [
        ("fedbn", {"oasis": 2}),
        ("local", {"oasis": 2}),
    ]
