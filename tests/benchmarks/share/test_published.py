"""The tables that are kept in the repository are those of the records beside them, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkout import ROOT

from fedsynth.benchmarks.cli import main

RESULTS = ROOT / "results"
PUBLISHED = sorted({path.parent.relative_to(RESULTS).as_posix() for path in RESULTS.glob("**/records*.zip")})


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
