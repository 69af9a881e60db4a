"""The tables that are kept in the repository are those of the records beside them, byte for byte."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest
from support.checkout import ROOT

from fedsynth import METHODS
from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.table import tables

RESULTS = ROOT / "results"
PUBLISHED = sorted(path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.glob("**/leaderboard.md"))


@pytest.mark.parametrize("table", PUBLISHED)
def test_a_table_follows_from_its_records(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RESULTS / table
    assert main(["leaderboard", "--results", str(folder), "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    kept = sorted(path.name for path in folder.glob("leaderboard.*"))
    assert {"leaderboard.md", "leaderboard.csv"} <= set(kept)
    for name in kept:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), (
            f"{name}: run `fedsynth leaderboard --results results/{table} --out results/{table}`"
        )


@pytest.mark.parametrize("table", [table for table in PUBLISHED if table.startswith("smoke/")])
def test_smoke_tables_rank_nothing(table: str) -> None:
    assert all(found.not_ranked for found in tables(finished_runs(Store(RESULTS / table))))


@pytest.mark.parametrize("table", [table for table in PUBLISHED if table.startswith("smoke/")])
def test_a_row_of_a_smoke_table_has_todays_defaults(table: str) -> None:
    """A row is called by the options that were changed, so the others have to be what they are now."""
    old = set()
    for run in finished_runs(Store(RESULTS / table)):
        own, changed = run.record.identity["method"], run.record.changed["method"]
        defaults = vars(METHODS[own["name"]]())
        for option in own.keys() & defaults.keys() - changed.keys():
            now = defaults[option]
            if own[option] != (now.name if isinstance(now, Enum) else now):
                old.add(f"{run.record.run}: {option}={own[option]}")
    assert not old
